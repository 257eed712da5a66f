"""Note the cache's operations in the open profile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from sys import _getframe
from time import perf_counter_ns

from flask_perfkit.faults import log_once
from flask_perfkit.recording.callsite import walk
from flask_perfkit.recording.recorder import current


def note(name: str, key: str, started: int) -> None:
    """Note an operation that has ended; of the key only a fingerprint is kept.

    :param started: on the clock of ``perf_counter_ns``.
    """
    recorder = current()
    if recorder is None:
        return
    try:
        site = walk(None, _getframe(), None)
        recorder.note("cache", name, hash(key), started, perf_counter_ns(), site)
    except Exception:
        log_once("noting an operation of the cache")


@contextmanager
def noted(name: str, key: str = "") -> Iterator[None]:
    """Note the operation of this block."""
    started = perf_counter_ns()
    yield
    note(name, key, started)
