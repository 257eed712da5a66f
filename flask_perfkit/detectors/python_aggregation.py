"""python_aggregation: rows fetched only to be counted or summed."""

from __future__ import annotations

from collections.abc import Iterator

from flask_perfkit.config import Settings
from flask_perfkit.detectors.usage import Aggregate, aggregates_of
from flask_perfkit.recording.findings import Finding
from flask_perfkit.recording.profile import Cause, Profile
from flask_perfkit.recording.reason import gives_same
from flask_perfkit.recording.wording import finding_of, milliseconds, place

_MANY_ROWS = 10


def detect(profile: Profile, settings: Settings) -> list[Finding]:
    """Find selects whose rows the code that asked only counts or adds up."""
    findings = []
    for cause in profile.causes:
        if _may_be(cause) and not profile.answered[cause.reason.subject]:
            aggregates = tuple(aggregates_by(cause))
            if aggregates:
                findings.append(_finding(cause, profile, aggregates))
    return findings


def aggregates_by(cause: Cause) -> Iterator[Aggregate]:
    """Yield what the code makes of a cause's rows; nothing where it uses a single one of them."""
    if cause.filename is None or None in cause.spans:
        return
    each = [aggregates_of(cause.filename, span) for span in cause.spans if span is not None]
    found = dict.fromkeys(aggregate for aggregates in each for aggregate in aggregates)
    if all(each) and all(_is_same(cause.reason.entity, aggregate) for aggregate in found):
        yield from found


def _is_same(entity: tuple[str, ...], aggregate: Aggregate) -> bool:
    column = aggregate.attribute is None or gives_same(
        entity, aggregate.function, aggregate.attribute
    )
    return column and (aggregate.by is None or gives_same(entity, "count", aggregate.by))


def _may_be(cause: Cause) -> bool:
    return (
        cause.operation == "SELECT"
        and cause.most_rows >= _MANY_ROWS
        and cause.reason.kind == "statement"
        and not cause.reason.limited
        and not cause.reason.uniqued
    )


def _finding(cause: Cause, profile: Profile, aggregates: tuple[Aggregate, ...]) -> Finding:
    entity = cause.reason.subject
    aggregate = next((each for each in aggregates if each.attribute is not None), aggregates[0])
    fix = f"select(func.count()).select_from({entity})"
    if aggregate.attribute is not None:
        fix = f"select(func.{aggregate.function}({entity}.{aggregate.attribute}))"
    if aggregate.by is not None:
        computed = fix.removeprefix("select(").partition(").select_from")[0].rstrip(")") + ")"
        fix = f"select({entity}.{aggregate.by}, {computed}).group_by({entity}.{aggregate.by})"
    what = "counted" if aggregate.function == "count" else f"put into {aggregate.function}()"
    message = (
        f"{cause.rows:,} rows of {entity} fetched only to be {what} "
        f"({milliseconds(cause.time)}) {place(cause)}; let the database do it: {fix}"
    )
    return finding_of("python_aggregation", cause, profile, message=message, fix=fix)
