"""From a recorder that has ended to a profile with findings, once, after the response."""

from __future__ import annotations

from collections import Counter
from operator import attrgetter, itemgetter, sub
from time import perf_counter_ns
from typing import Any

from flask_perfkit.config import Settings
from flask_perfkit.detectors import detect
from flask_perfkit.profile import Profile
from flask_perfkit.recorder import Recorder

_NANOSECONDS = 1e9

_started, _ended, _site, _seen = map(itemgetter, (2, 3, 4, 5))
_asked, _rows, _expected = map(attrgetter, ("asked", "rows", "expected"))


def analyse(recorder: Recorder, settings: Settings, **facts: Any) -> Profile:
    """Return what a recorder has seen so far as a profile with its findings.

    :param facts: the fields of :class:`Profile` that the recorder cannot know.
    """
    causes, calls = recorder.fold(), recorder.calls
    profile = Profile(
        causes=causes,
        cache_calls=tuple(call for call in calls if call.kind == "redis"),
        blocking_calls=tuple(call for call in calls if call.kind == "blocking"),
        zero=recorder.started,
        **facts,
    )
    profile.findings = detect(profile, settings)
    return profile


def is_unremarkable(recorder: Recorder, settings: Settings) -> bool:
    """Tell, without looking at any statement, that no detector can find anything.

    This is what nearly every request in production is, so it is made of a few calls into C:
    it did not take long, no line asked often, no statement took long or brought many rows.
    """
    slow = settings.slow_request
    if slow is not None and perf_counter_ns() - recorder.started > slow * _NANOSECONDS:
        return False
    if recorder.folded:
        return False
    if not recorder:
        return True
    if max(Counter(map(_asked, map(_site, recorder))).values()) >= settings.n_plus_one_threshold:
        return False
    slowest = max(map(sub, map(_ended, recorder), map(_started, recorder)))
    if settings.slow_query is not None and slowest > settings.slow_query * _NANOSECONDS:
        return False
    if any(map(_expected, map(_seen, recorder))):
        return False  # a join with many rows
    most = settings.unbounded_rows
    return most is None or max(map(_rows, map(_seen, recorder))) <= most
