"""slow_query: a statement that took longer than PERFKIT_SLOW_QUERY to execute."""

from __future__ import annotations

from flask_perfkit.config import Settings
from flask_perfkit.recording.cause import Cause
from flask_perfkit.recording.findings import Finding
from flask_perfkit.recording.profile import Profile
from flask_perfkit.recording.wording import finding_of, milliseconds, place, short_sql


def detect(profile: Profile, settings: Settings) -> list[Finding]:
    """Find causes with an execution above the threshold."""
    limit = settings.slow_query
    if limit is None:
        return []
    return [_finding(cause, profile, limit) for cause in profile.causes if cause.slowest > limit]


def _finding(cause: Cause, profile: Profile, limit: float) -> Finding:
    fix = "look at the statement's plan with EXPLAIN: an index may be missing"
    message = (
        f"{short_sql(cause.sql)} took {milliseconds(cause.slowest)} "
        f"(threshold {milliseconds(limit)}) {place(cause, profile)}; {fix}"
    )
    return finding_of(
        "slow_query", cause, profile, message=message, fix=fix, duration=cause.slowest
    )
