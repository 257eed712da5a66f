"""Rows that the code only counts or adds up, and the select that gives the same numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from flask_perfkit.detectors.usage import Aggregate, aggregates_of
from flask_perfkit.recording.profile import Cause
from flask_perfkit.recording.reason import gives_same


def aggregates_by(cause: Cause) -> tuple[Aggregate, ...]:
    """Return what the code makes of a cause's rows; nothing where it uses a single one of them."""
    if cause.filename is None or None in cause.spans:
        return ()
    each = [aggregates_of(cause.filename, span) for span in cause.spans if span is not None]
    found = dict.fromkeys(aggregate for aggregates in each for aggregate in aggregates)
    is_same = all(_is_same(cause.reason.entity, aggregate) for aggregate in found)
    return tuple(found) if each and all(each) and is_same else ()


def _is_same(entity: tuple[str, ...], aggregate: Aggregate) -> bool:
    column = aggregate.attribute is None or gives_same(
        entity, aggregate.function, aggregate.attribute
    )
    return column and (aggregate.by is None or gives_same(entity, "count", aggregate.by))


def aggregate_select(entity: str, keys: Sequence[str], aggregates: Iterable[Aggregate]) -> str:
    """Return as code a select that works out aggregates of a class.

    :param keys: columns to group by before all others.
    """
    aggregates = tuple(aggregates)
    by = [f"{entity}.{each.by}" for each in aggregates if each.by is not None]
    groups = list(dict.fromkeys([*keys, *by]))
    computed = dict.fromkeys(_function(entity, each) for each in aggregates)
    select = f"select({', '.join([*groups, *computed])})"
    return f"{select}.group_by({', '.join(groups)})" if groups else select


def _function(entity: str, aggregate: Aggregate) -> str:
    if aggregate.attribute is None:
        return "func.count()"
    return f"func.{aggregate.function}({entity}.{aggregate.attribute})"
