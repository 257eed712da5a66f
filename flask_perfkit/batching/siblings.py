"""The objects that one query brought in together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import count
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from sqlalchemy.orm import InstanceState, Session
from sqlalchemy.orm.collections import collection_adapter

_MOST_OLDER = 1_000
"""Objects of earlier queries that are passed, one after the other, before the search ends."""


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
    """Return the objects that the query of another brought into the same session.

    Only those count that would be loaded in the same way: of the same class, with the same
    loader options. A query is told by ``runid``, a number that SQLAlchemy gives to each.
    """
    siblings = list(_brought_together(state, session))
    siblings.reverse()
    siblings.sort(key=lambda sibling: _places.get(sibling, 0))
    place = siblings.index(state) if state in siblings else 0
    order = sorted(range(len(siblings)), key=lambda other: abs(other - place))
    found = Siblings([], [])
    for other in map(siblings.__getitem__, order):
        if other is not state:
            (found.touched if key in other.dict else found.untouched).append(other)
    return found


def _brought_together(state: InstanceState[Any], session: Session) -> Iterator[InstanceState[Any]]:
    """Yield the siblings, last first: a loop's objects are among the newest of a session."""
    run = state.runid
    older = 0
    for other in reversed(session.identity_map.all_states()):
        if other.runid == run:
            older = 0
            if _loads_alike(other, state):
                yield other
        elif other.runid is not None and run is not None and other.runid < run:
            older += 1
            if older > _MOST_OLDER:
                return


def _loads_alike(one: InstanceState[Any], other: InstanceState[Any]) -> bool:
    return (
        one.mapper is other.mapper
        and one.obj() is not None
        and not one.expired
        and one.identity_token is None
        and one.load_options == other.load_options
        and one.load_path == other.load_path
    )


def rows_of(states: list[InstanceState[Any]], key: str) -> int:
    """Return how many objects the loaded collections of a relationship hold."""
    return sum(len(collection_adapter(state.dict[key])) for state in states)
