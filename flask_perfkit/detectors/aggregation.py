"""Rows that the code only counts or adds up, and the select that gives the same numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from flask_perfkit.cures.counting import brings, only_reads
from flask_perfkit.detectors.usage import Aggregate, aggregates_of
from flask_perfkit.recording.cause import Cause
from flask_perfkit.recording.columns import gives_same
from flask_perfkit.recording.issued import known


def aggregates_by(cause: Cause) -> tuple[Aggregate, ...]:
    """Return what the code makes of a cause's rows; nothing where it uses a single one of them."""
    if cause.filename is None or None in cause.spans:
        return ()
    each = [aggregates_of(cause.filename, span) for span in cause.spans if span is not None]
    found = dict.fromkeys(aggregate for aggregates in each for aggregate in aggregates)
    is_same = all(_is_same(cause, aggregate) for aggregate in found)
    return tuple(found) if each and all(each) and is_same else ()


def _is_same(cause: Cause, aggregate: Aggregate) -> bool:
    entity, issued = cause.reason.entity, known(cause.issued)
    worked_out = [(aggregate.function, aggregate.attribute), ("count", aggregate.by)]
    return only_reads(issued, cause.sql) and all(
        brings(issued, attribute) and gives_same(entity, function, attribute)
        for function, attribute in worked_out
        if attribute is not None
    )


def aggregate_columns(
    entity: str, keys: Sequence[str], aggregates: Iterable[Aggregate]
) -> tuple[list[str], list[str]]:
    """Return as code what to group by, and the aggregates of a class.

    :param keys: columns to group by before all others.
    """
    aggregates = tuple(aggregates)
    by = [f"{entity}.{each.by}" for each in aggregates if each.by is not None]
    groups = list(dict.fromkeys([*keys, *by]))
    computed = dict.fromkeys(_function(entity, each, bool(groups)) for each in aggregates)
    return groups, list(computed)


def _function(entity: str, aggregate: Aggregate, grouped: bool) -> str:
    if aggregate.attribute is None:
        return "func.count()"
    code = f"func.{aggregate.function}({entity}.{aggregate.attribute})"
    # Of no rows, a database's sum is NULL.
    return f"func.coalesce({code}, 0)" if aggregate.function == "sum" and not grouped else code
