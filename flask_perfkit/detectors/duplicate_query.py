"""duplicate_query: one statement with the same parameters, again."""

from __future__ import annotations

from flask_perfkit.config import Settings
from flask_perfkit.detectors.loading import ONE_COMMIT, forgets_in_loop
from flask_perfkit.detectors.n_plus_one import is_loop, is_waited_for
from flask_perfkit.recording.cause import MOST_VALUES, Cause
from flask_perfkit.recording.findings import Finding
from flask_perfkit.recording.profile import Profile
from flask_perfkit.recording.tables import NO_TABLE, is_of_catalog, table_of
from flask_perfkit.recording.wording import finding_of, milliseconds, place, short_sql


def detect(profile: Profile, settings: Settings) -> list[Finding]:
    """Find reads that were repeated though nothing was written to their table between."""
    return [
        _finding(cause, profile)
        for cause in profile.causes
        if cause.count >= settings.n_plus_one_threshold
        and cause.operation == "SELECT"
        and cause.reason.kind != "batch"  # it goes along with the statement of its parents
        and len(cause.values) < min(cause.count, MOST_VALUES)
        and not is_loop(cause)
        and not is_of_catalog(cause.sql)
        and not _may_change(cause, profile)
    ]


def _may_change(cause: Cause, profile: Profile) -> bool:
    """Tell whether the answer may be another each time.

    It may if a function gives another value, if one of the tables was written in between, and if
    the code waits for what others write.
    """
    if table_of(cause.sql) == NO_TABLE or cause.reason.volatile:
        return True
    return profile.is_written_between(cause) or is_waited_for(cause)


def _finding(cause: Cause, profile: Profile) -> Finding:
    fix = "keep the result in a variable, or in flask.g for the request"
    if cause.reason.kind in ("lazy", "column") and forgets_in_loop(cause, profile):
        fix = ONE_COMMIT
    different = len(cause.values)
    message = (
        f"{cause.count} executions of {short_sql(cause.sql)} with "
        f"{'the same parameters' if different == 1 else f'only {different} sets of parameters'} "
        f"({milliseconds(cause.time)}) {place(cause, profile)}; {fix}"
    )
    return finding_of("duplicate_query", cause, profile, message=message, fix=fix)
