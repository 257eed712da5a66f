"""Asks all detectors, those of an application's own (``own.py``) too, which come with its settings.

It is imported when the first profile is judged: with them come the cures, and a process that only
starts, or whose requests are all let go, needs neither.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain, repeat
from operator import call

from flask_perfkit.config import Settings
from flask_perfkit.detectors import (
    blocking_call,
    cartesian_product,
    duplicate_query,
    n_plus_one,
    n_plus_one_cache,
    n_plus_one_write,
    python_aggregation,
    redis_keys,
    refused_load,
    scattered_lookups,
    slow_query,
    slow_request,
    unbounded_result,
    uncached_static,
    uncompressed_response,
    unused_columns,
    unused_eager_load,
)
from flask_perfkit.faults import log_once
from flask_perfkit.recording.findings import Finding
from flask_perfkit.recording.profile import Profile

DETECTORS: tuple[Callable[[Profile, Settings], list[Finding]], ...] = (
    n_plus_one.detect,
    n_plus_one_write.detect,
    n_plus_one_cache.detect,
    refused_load.detect,
    scattered_lookups.detect,
    duplicate_query.detect,
    slow_query.detect,
    slow_request.detect,
    unbounded_result.detect,
    cartesian_product.detect,
    python_aggregation.detect,
    unused_eager_load.detect,
    unused_columns.detect,
    blocking_call.detect,
    redis_keys.detect,
    uncompressed_response.detect,
    uncached_static.detect,
)


def detect(profile: Profile, settings: Settings) -> tuple[Finding, ...]:
    """Return what all detectors find; one that fails is skipped."""
    asked = DETECTORS + settings.detectors
    try:
        return tuple(chain.from_iterable(map(call, asked, repeat(profile), repeat(settings))))
    except Exception:
        return _detect_one_by_one(profile, settings)


def _detect_one_by_one(profile: Profile, settings: Settings) -> tuple[Finding, ...]:
    findings: list[Finding] = []
    for detector in DETECTORS + settings.detectors:
        try:
            findings += detector(profile, settings)
        except Exception:
            log_once(f"the detector {getattr(detector, 'kind', detector.__module__)}")
    return tuple(findings)
