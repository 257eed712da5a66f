"""duplicate_query: one statement with the same parameters, again."""

from __future__ import annotations

from flask_perfkit.config import Settings
from flask_perfkit.detectors.n_plus_one import is_loop
from flask_perfkit.detectors.wording import finding_of, milliseconds, place, short_sql
from flask_perfkit.findings import Finding
from flask_perfkit.fingerprint import WRITES
from flask_perfkit.profile import Cause, Profile
from flask_perfkit.reason import NO_TABLE, is_of_catalog, table_of


def detect(profile: Profile, settings: Settings) -> list[Finding]:
    """Find reads that were repeated though nothing was written to their table between."""
    written = {table_of(cause.sql) for cause in profile.causes if cause.operation in WRITES}
    return [
        _finding(cause, profile)
        for cause in profile.causes
        if cause.count >= settings.n_plus_one_threshold
        and cause.operation == "SELECT"
        and len(cause.values) < cause.count
        and not is_loop(cause)
        and not is_of_catalog(cause.sql)
        and table_of(cause.sql) not in written | {NO_TABLE}
    ]


def _finding(cause: Cause, profile: Profile) -> Finding:
    fix = "keep the result in a variable, or in flask.g for the request"
    different = len(cause.values)
    message = (
        f"{cause.count} executions of {short_sql(cause.sql)} with "
        f"{'the same parameters' if different == 1 else f'only {different} sets of parameters'} "
        f"({milliseconds(cause.time)}) {place(cause)}; {fix}"
    )
    return finding_of("duplicate_query", cause, profile, message=message, fix=fix)
