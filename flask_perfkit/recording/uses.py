"""What was used of loaded objects, where it is noted: attributes, and objects by themselves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from time import perf_counter_ns
from typing import Any, NamedTuple

MOST_ANSWERED = 10_000
"""Attributes and objects that one recorder notes."""


class Answered(NamedTuple):
    """An object that a session had already when it was asked for it, by its state."""

    state: Any


class Uses(NamedTuple):
    """What was used.

    ``attributes`` are the mapped ones that were read, as ``Model.name``; ``answered`` counts by
    model the objects that a session had already when it was asked for them.
    """

    attributes: frozenset[str]
    answered: Counter[str]


_elsewhere: dict[int, tuple[Any, int]] = {}


def note_elsewhere(attribute: Any) -> None:
    """Note a read that no recorder was open for, as in a thread of a pool."""
    _elsewhere[id(attribute)] = (attribute, perf_counter_ns())


def uses_of(touched: dict[int, Any], since: int) -> Uses:
    """Return what a recorder noted, and what was read meanwhile by nobody that it knows."""
    noted = list(touched.values())
    answered = [each for each in noted if isinstance(each, Answered)]
    read = [each for each in noted if not isinstance(each, Answered)]
    read += [attribute for attribute, moment in list(_elsewhere.values()) if moment >= since]
    models = (model for each in answered for model in _models(each.state.mapper))
    return Uses(frozenset(map(attribute_name, read)), Counter(models))


def attribute_name(attribute: Any) -> str:
    """Return a mapped attribute as findings call it: ``Model.name``, the class that maps it."""
    mapped = getattr(attribute, "prop", attribute)
    return f"{mapped.parent.class_.__name__}.{mapped.key}"


def _models(mapper: Any) -> Iterable[str]:
    return (each.class_.__name__ for each in mapper.iterate_to_root())
