"""scattered_lookups: one statement asked from many lines, a few times each.

A function that looks up a setting or a user, say, which many places call: there is no loop, so
that no loader option cures it.
"""

from __future__ import annotations

from flask_perfkit.config import Settings
from flask_perfkit.detectors.n_plus_one import is_loop, is_scattered
from flask_perfkit.recording.cause import Cause
from flask_perfkit.recording.findings import Finding
from flask_perfkit.recording.profile import Profile
from flask_perfkit.recording.wording import finding_of, milliseconds, place, short_sql


def detect(profile: Profile, settings: Settings) -> list[Finding]:
    """Find lookups that come to the threshold together and from no line by itself."""
    threshold = settings.n_plus_one_threshold
    return [
        _finding(cause, profile)
        for cause in profile.causes
        if len(cause.callers) >= threshold and is_scattered(cause, threshold) and is_loop(cause)
    ]


def _finding(cause: Cause, profile: Profile) -> Finding:
    fix = "read them once with one query, or keep them in a cache, if they change seldom"
    message = (
        f"{cause.count} lookups by {short_sql(cause.sql)} from {len(cause.callers)} lines "
        f"({milliseconds(cause.time)}) {place(cause, profile)}; {fix}"
    )
    return finding_of("scattered_lookups", cause, profile, message=message, fix=fix)
