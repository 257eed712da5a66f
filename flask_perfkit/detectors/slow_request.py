"""slow_request: a request that took longer than PERFKIT_SLOW_REQUEST."""

from __future__ import annotations

from flask_perfkit.config import Settings
from flask_perfkit.recording.findings import Finding, allow_covered
from flask_perfkit.recording.profile import Profile
from flask_perfkit.recording.wording import counted, line, milliseconds, statement_count

_MANY_ROWS = 1_000


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
        f"(threshold {milliseconds(limit)}), {_time_in(profile)}; {fix}"
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


def _time_in(profile: Profile) -> str:
    """Say how much of the time went where: fetching is part of a statement's time here."""
    statements = f"{milliseconds(_database(profile))} of it in {statement_count(profile)}"
    if not profile.cache_calls:
        return statements
    calls = sum(call.count for call in profile.cache_calls)
    named = f"{counted(calls, 'call')} of the cache or Redis"
    return f"{statements}, {milliseconds(_calls(profile))} in {named}"


def _database(profile: Profile) -> float:
    return sum(cause.time for cause in profile.causes)


def _calls(profile: Profile) -> float:
    return sum(call.duration for call in profile.cache_calls)


def _where_to_begin(profile: Profile, settings: Settings) -> str:
    rest = max(profile.duration - _database(profile) - _calls(profile), 0)
    outside = f"the other {milliseconds(rest)} are {_outside(profile)}"
    if not profile.causes:
        return outside
    most = max(profile.causes, key=lambda cause: cause.time)
    where = f"at {line(most.filename, most.lineno)}" if most.filename else "in library code"
    begin = "statement" if most.count == 1 else counted(most.count, "statement")
    first = f"begin with the {begin} {where}: {milliseconds(most.time)}"
    if most.time > profile.duration / 2:
        return first
    if most.count >= settings.n_plus_one_threshold:
        return f"{first}; {outside}" if rest > profile.duration / 2 else first
    return outside


def _outside(profile: Profile) -> str:
    """Say what time may be spent on that is neither the database's nor the cache's."""
    objects = sum(cause.rows for cause in profile.causes if cause.reason.of_objects)
    built = f", such as building objects of {objects:,} rows" if objects >= _MANY_ROWS else ""
    return (
        f"code of the view{built}, or waiting for what is not watched, such as another server: "
        "time the calls that it makes with timer()"
    )
