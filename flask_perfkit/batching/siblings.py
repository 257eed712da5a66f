"""The objects that one query brought in together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, count, zip_longest
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from sqlalchemy.orm import InstanceState, Session
from sqlalchemy.orm.attributes import instance_dict
from sqlalchemy.orm.collections import collection_adapter

_places: WeakKeyDictionary[InstanceState[Any], int] = WeakKeyDictionary()
_place = count()


def note_order(states: Iterable[InstanceState[Any]]) -> None:
    """Note in which order objects will be walked, where it is not that of their rows.

    A batch's rows are ordered by the relationship, over all parents; a loop over the parents
    walks those of one parent after the other.
    """
    for state in states:
        _places[state] = next(_place)


class Siblings(NamedTuple):
    """The siblings of an object by whether their relationship is loaded; the nearest first."""

    touched: list[InstanceState[Any]]
    untouched: list[InstanceState[Any]]


def siblings_of(state: InstanceState[Any], key: str, session: Session) -> Siblings:
    """Return the objects of one class that the query of another brought into the same session.

    A query is told by ``runid``, a number that SQLAlchemy gives to each.
    """
    run, manager = state.runid, state.manager
    siblings = [
        other
        for other in session.identity_map.all_states()
        if other.runid == run and other.manager is manager
    ]
    if state in _places:
        siblings.sort(key=lambda sibling: _places.get(sibling, 0))
    place = siblings.index(state) if state in siblings else 0
    found = Siblings([], [])
    for other in _outwards(siblings, place):
        instance = other.obj()
        if instance is not None:
            found[key not in instance_dict(instance)].append(other)
    return found


def _outwards(siblings: list[InstanceState[Any]], place: int) -> Iterator[InstanceState[Any]]:
    """Return the siblings of one that stands at a place, those beside it first."""
    after, before = siblings[place + 1 :], siblings[:place][::-1]
    return filter(None, chain.from_iterable(zip_longest(after, before)))


def loads_alike(one: InstanceState[Any], other: InstanceState[Any]) -> bool:
    """Tell whether siblings load their relationships in the same way.

    One query may bring objects of a class on two ways, and each way has its options.
    """
    return one.load_options == other.load_options and one.load_path == other.load_path


def rows_of(states: list[InstanceState[Any]], key: str) -> int:
    """Return how many objects the loaded collections of a relationship hold."""
    return sum(len(collection_adapter(state.dict[key])) for state in states)
