"""slow_request: a request that took longer than PERFKIT_SLOW_REQUEST."""

from __future__ import annotations

from flask_perfkit.config import Settings
from flask_perfkit.recording.findings import Finding, allow_covered
from flask_perfkit.recording.profile import Profile
from flask_perfkit.recording.wording import line, milliseconds


def detect(profile: Profile, settings: Settings) -> list[Finding]:
    """Find that the request itself was above the threshold."""
    limit = settings.slow_request
    if limit is None or profile.duration <= limit or profile.status is None:
        return []  # commands and blocks may take their time
    fix = _where_to_begin(profile, settings)
    # A path that matches no rule may hold anything, a mistyped secret too.
    name = profile.endpoint or "a request that matches no rule"
    message = (
        f"slow_request: {name} took {milliseconds(profile.duration)} "
        f"(threshold {milliseconds(limit)}), {milliseconds(profile.sql_duration)} of it in "
        f"{profile.query_count} statements; {fix}"
    )
    finding = Finding(
        kind="slow_request",
        subject=name,
        message=message,
        fix=fix,
        duration=profile.duration,
        filename=profile.view.filename if profile.view else None,
        lineno=profile.view.lineno if profile.view else None,
        function=profile.view.function if profile.view else None,
        endpoint=profile.endpoint,
    )
    return [allow_covered(finding, profile.allowances)]


def _where_to_begin(profile: Profile, settings: Settings) -> str:
    if profile.causes:
        most = max(profile.causes, key=lambda cause: cause.time)
        if most.time > profile.duration / 2 or most.count >= settings.n_plus_one_threshold:
            at = line(most.filename, most.lineno) if most.filename else "library code"
            return f"begin with the {most.count} statements at {at}: {milliseconds(most.time)}"
    return "profile the view: the time is not spent in the database"
