"""Counts what Python executes: exact and repeatable, but blind to the time inside C."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import Any

_MOST_TRIES = 10


def count(function: Callable[[], object]) -> int:
    """Return the opcodes that a call of ``function`` executes in this thread once it is warm.

    It is counted until two counts agree: the first calls fill caches, and Python 3.12 and 3.13
    miss some opcodes of code that is traced for the first time. Where no two agree (a peer
    rolls dice) it is the last.
    """
    counted = -1
    for _ in range(_MOST_TRIES):
        before, counted = counted, _count_once(function)
        if before == counted:
            break
    return counted


def _count_once(function: Callable[[], object]) -> int:
    executed = 0

    def trace(frame: Any, event: str, _: Any) -> Any:
        nonlocal executed
        if event == "opcode":
            executed += 1
        elif event == "call":
            frame.f_trace_opcodes = True
            frame.f_trace_lines = False
        return trace

    gc.disable()  # a finalizer would be counted wherever it happens to run
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(None)
        gc.enable()
    return executed
