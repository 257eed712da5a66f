"""unbounded_result: a select without LIMIT that brought more rows than allowed."""

from __future__ import annotations

from flask_perfkit.config import Settings
from flask_perfkit.recording.cause import Cause
from flask_perfkit.recording.findings import Finding
from flask_perfkit.recording.profile import Profile
from flask_perfkit.recording.wording import finding_of, place, short_sql


def detect(profile: Profile, settings: Settings) -> list[Finding]:
    """Find selects whose number of rows only the data bounds."""
    limit = settings.unbounded_rows
    if limit is None:
        return []
    return [
        _finding(cause, profile)
        for cause in profile.causes
        if cause.most_rows > limit
        and cause.operation == "SELECT"
        and not cause.reason.limited
        and cause.reason.kind != "batch"
        and cause.keys < cause.most_rows * cause.count
    ]


def _finding(cause: Cause, profile: Profile) -> Finding:
    fix = "add a LIMIT, or page through it"
    if cause.reason.entity:
        fix = f"paginate(select({cause.reason.subject}), params)"
    if cause.reason.kind == "lazy":
        fix = f"select the rows of {cause.reason.subject} by themselves and paginate them"
    what = f"{cause.most_rows:,} rows at once from {short_sql(cause.sql)}"
    message = f"{what} {place(cause, profile)}; {fix}"
    return finding_of("unbounded_result", cause, profile, message=message, fix=fix)
