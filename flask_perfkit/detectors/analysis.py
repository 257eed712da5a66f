"""Makes a profile with its findings of what a recorder has seen.

That is done once, after the response, unless something must be said before it leaves. In
production hardly a request comes that far: most are seen to be unremarkable first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from math import inf
from operator import attrgetter, itemgetter, sub
from time import perf_counter_ns
from typing import Any

from flask_perfkit.config import Settings
from flask_perfkit.recording.allowances import Allowance
from flask_perfkit.recording.calls import Call
from flask_perfkit.recording.causes import Record
from flask_perfkit.recording.findings import AllowedFinding, Finding, worst_first
from flask_perfkit.recording.joins import MANY_ROWS
from flask_perfkit.recording.profile import Profile
from flask_perfkit.recording.recorder import Recorder
from flask_perfkit.recording.uses import uses_of

_NANOSECONDS = 1e9
_FAILED = 400
_SENSITIVE = Settings(n_plus_one_threshold=2, slow_query=1e-9, slow_request=1e-9, unbounded_rows=1)
"""With these a little data shows what much data would."""
_TELLING = {
    *("n_plus_one", "n_plus_one_write", "duplicate_query", "unbounded_result"),
    *("blocking_call", "redis_keys"),
}
"""Kinds whose absence says something; the others come and go with time, data and settings."""

_asked, _started, _ended, _seen = map(itemgetter, (0, 2, 3, 4))
_allowance, _site = itemgetter(0), itemgetter(1)
_line, _rows, _expected = map(attrgetter, ("asked", "rows", "expected"))


def analyse(recorder: Recorder, settings: Settings, **facts: Any) -> Profile:
    """Return what a recorder has seen so far as a profile with its findings.

    Requests and commands that ran inside are counted with it, their findings are their own.

    :param facts: the fields of :class:`Profile` that the recorder cannot know.
    """
    from flask_perfkit.detectors.detection import detect

    causes, calls = recorder.fold(), recorder.calls
    if calls:
        facts |= _by_use(calls)
    if recorder.touched is not None:
        facts["touched"], facts["answered"] = uses_of(recorder.touched, recorder.started)
    profile = Profile(
        causes=causes,
        zero=recorder.started,
        allowances=tuple(map(_allowance, recorder.spans)),
        **facts,
    )
    found = detect(profile, settings)
    if profile.allowances or recorder.inside:
        return _sorted_out(profile, found, recorder, settings)
    profile.findings = worst_first(found)
    return profile


def _by_use(calls: tuple[Call, ...]) -> dict[str, tuple[Call, ...]]:
    """Return the fields of a profile that hold its calls."""
    return {
        "cache_calls": tuple(call for call in calls if call.kind in ("redis", "cache")),
        "blocking_calls": tuple(call for call in calls if call.kind == "blocking"),
        "refused_loads": tuple(call for call in calls if call.kind.startswith("refused_")),
        "templates": tuple(call for call in calls if call.kind == "template"),
    }


def _sorted_out(
    profile: Profile, found: tuple[Finding, ...], recorder: Recorder, settings: Settings
) -> Profile:
    """Return a profile with what requests inside did, and with what is allowed put aside."""
    if not recorder.stands_alone:
        found += recorder.reported
    profile = replace(profile, causes=(*profile.causes, *recorder.inside))
    profile.allowed = tuple(each for each in found if isinstance(each, AllowedFinding))
    profile.findings = worst_first(each for each in found if not isinstance(each, AllowedFinding))
    if recorder.closed:
        profile.unmatched = _unmatched(recorder.allowances, profile, settings)
    return profile


def _unmatched(
    allowances: tuple[Allowance, ...], profile: Profile, settings: Settings
) -> tuple[Allowance, ...]:
    """Return those allowances that would match nothing however much data there were."""
    from flask_perfkit.detectors.detection import detect

    matched = {finding.allowance for finding in profile.allowed}
    left = [each for each in allowances if each.kind in _TELLING and each not in matched]
    if not left or (profile.status or 0) >= _FAILED:
        return ()
    possible = {
        finding.allowance
        for finding in detect(profile, _SENSITIVE)
        if isinstance(finding, AllowedFinding)
    }
    return tuple(
        allowance
        for allowance in left
        if allowance not in possible and _shows_enough(allowance, profile, settings)
    )


def _shows_enough(allowance: Allowance, profile: Profile, settings: Settings) -> bool:
    """Tell whether a problem would have shown: there were rows to walk, and nothing was lazy."""
    causes = [cause for cause in profile.causes if allowance in cause.allowances]
    if any(
        allowance.covers("n_plus_one", cause.reason.subject)
        and cause.reason.kind in ("lazy", "column")
        for cause in causes
    ):
        return False
    return not causes or sum(cause.rows for cause in causes) >= settings.n_plus_one_threshold


def first_look(settings: Settings) -> Callable[[Recorder], bool]:
    """Return what tells, without looking at any statement, that no detector can find anything.

    That is what nearly every request in production is, so the cheapest look comes first, and a
    dearer one only where that does not settle it: no statement took longer than all of the
    request, and no line asked more often than there are statements beyond one a line. It leaves
    the time until then in ``elapsed``, which others need as well. What a detector of the
    application's own looks for is not known: it gets each request.
    """
    if settings.detectors:
        return _is_to_be_looked_at
    slow_request, slow_query = map(_nanoseconds, (settings.slow_request, settings.slow_query))
    quick = min(slow_request, slow_query)
    often = settings.n_plus_one_threshold
    most = settings.unbounded_rows or inf
    few = min(most, MANY_ROWS - 1)

    def is_unremarkable(recorder: Recorder) -> bool:
        elapsed = recorder.elapsed = perf_counter_ns() - recorder.started
        if recorder.has_more:
            return False
        if elapsed > quick and (elapsed > slow_request or _slowest(recorder) > slow_query):
            return False
        if not recorder:
            return True
        if len(recorder) >= often:
            lines = list(map(_line, map(_site, map(_asked, recorder))))
            beyond = len(lines) - len(set(lines))  # one a line
            if beyond >= often - 1 and max(Counter(lines).values()) >= often:
                return False
        rows = max(map(_rows, map(_seen, recorder)))
        return rows <= few or (rows <= most and not any(map(_expected, map(_seen, recorder))))

    return is_unremarkable


def _is_to_be_looked_at(recorder: Recorder) -> bool:
    recorder.elapsed = perf_counter_ns() - recorder.started
    return False


def _nanoseconds(seconds: float | None) -> float:
    return inf if seconds is None else seconds * _NANOSECONDS


def _slowest(records: Iterable[Record]) -> int:
    slowest: int = max(map(sub, map(_ended, records), map(_started, records)), default=0)
    return slowest
