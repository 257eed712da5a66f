"""python_aggregation: rows fetched only to be counted or summed."""

from __future__ import annotations

from flask_perfkit.config import Settings
from flask_perfkit.cures.aggregation import aggregation_of
from flask_perfkit.cures.counting import asking_for
from flask_perfkit.detectors.aggregation import aggregate_columns, aggregates_by
from flask_perfkit.detectors.loading import sent_by
from flask_perfkit.detectors.usage import Aggregate, are_held
from flask_perfkit.recording.cause import Cause
from flask_perfkit.recording.findings import Finding
from flask_perfkit.recording.issued import known
from flask_perfkit.recording.profile import Profile
from flask_perfkit.recording.wording import finding_of, milliseconds, place

_MANY_ROWS = 10


def detect(profile: Profile, settings: Settings) -> list[Finding]:
    """Find selects whose rows the code that asked only counts or adds up."""
    findings = []
    for cause in profile.causes:
        if _may_be(cause) and not _may_answer(cause, profile):
            aggregates = aggregates_by(cause)
            if aggregates:
                findings.append(_finding(cause, profile, aggregates))
    return findings


def _may_be(cause: Cause) -> bool:
    return (
        cause.operation == "SELECT"
        and cause.most_rows >= _MANY_ROWS
        and cause.reason.kind == "statement"
        and not cause.reason.limited
        and not cause.reason.uniqued
    )


def _may_answer(cause: Cause, profile: Profile) -> bool:
    """Tell whether the objects may be there for others, which find them in the session.

    Where nobody notes that, those that a variable holds may.
    """
    if profile.touched is not None:
        return profile.answered[cause.reason.subject] > 0
    if not cause.reason.of_objects or cause.filename is None:
        return False
    return any(are_held(cause.filename, span) for span in cause.spans if span is not None)


def _finding(cause: Cause, profile: Profile, aggregates: tuple[Aggregate, ...]) -> Finding:
    entity = cause.reason.subject
    aggregate = next((each for each in aggregates if each.attribute is not None), aggregates[0])
    groups, columns = aggregate_columns(entity, (), [aggregate])
    issued = known(cause.issued)
    fix = asking_for(issued, entity, columns, groups)
    what = "counted" if aggregate.function == "count" else f"put into {aggregate.function}()"
    message = (
        f"{cause.rows:,} rows of {entity} fetched only to be {what} "
        f"({milliseconds(cause.time)}) {place(cause, profile)}; let the database do it: {fix}"
    )
    cure = None
    if issued is not None and len(aggregates) == 1 and aggregate.by is None:
        cure = aggregation_of(issued, aggregate.function, aggregate.attribute, sent_by(cause))
    return finding_of("python_aggregation", cause, profile, message=message, fix=fix, cure=cure)
