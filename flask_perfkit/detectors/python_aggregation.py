"""python_aggregation: rows fetched only to be counted or summed."""

from __future__ import annotations

from flask_perfkit.config import Settings
from flask_perfkit.detectors.usage import Aggregate, aggregate_of
from flask_perfkit.recording.findings import Finding
from flask_perfkit.recording.profile import Cause, Profile
from flask_perfkit.recording.wording import finding_of, milliseconds, place

_MANY_ROWS = 10


def detect(profile: Profile, settings: Settings) -> list[Finding]:
    """Find selects whose rows the code at that line only counts or adds up."""
    findings = []
    for cause in profile.causes:
        if _may_be(cause) and cause.filename is not None and cause.lineno is not None:
            aggregate = aggregate_of(cause.filename, cause.lineno)
            if aggregate is not None:
                findings.append(_finding(cause, profile, aggregate))
    return findings


def _may_be(cause: Cause) -> bool:
    return (
        cause.operation == "SELECT"
        and cause.most_rows >= _MANY_ROWS
        and cause.reason.kind == "statement"
        and not cause.reason.limited
    )


def _finding(cause: Cause, profile: Profile, aggregate: Aggregate) -> Finding:
    entity = cause.reason.subject
    fix = f"select(func.count()).select_from({entity})"
    if aggregate.function != "count":
        fix = f"select(func.{aggregate.function}({entity}.{aggregate.attribute or '<column>'}))"
    what = "counted" if aggregate.function == "count" else f"put into {aggregate.function}()"
    message = (
        f"{cause.rows:,} rows of {entity} fetched only to be {what} "
        f"({milliseconds(cause.time)}) {place(cause)}; let the database do it: {fix}"
    )
    return finding_of("python_aggregation", cause, profile, message=message, fix=fix)
