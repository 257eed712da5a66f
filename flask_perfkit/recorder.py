"""The open profile: hooks append to it while the request runs, and nothing is judged."""

from __future__ import annotations

from _thread import RLock
from collections.abc import Iterable
from contextvars import ContextVar
from time import perf_counter_ns
from typing import Any

from flask_perfkit.calls import Calls
from flask_perfkit.callsite import Site
from flask_perfkit.causes import Causes, Record
from flask_perfkit.profile import Call, Cause

MOST_RECORDS = 1_000
"""Records that wait; more are folded into causes, so that a long job stays small."""

_current: ContextVar[Recorder | None] = ContextVar("flask_perfkit_recorder", default=None)

current = _current.get
"""Return the recorder that is open in this context, or None."""

enter = _current.set
"""Make a recorder the open one; returns the token for :data:`leave`."""

leave = _current.reset
"""Make the recorder that was open before :data:`enter` the open one again."""


class Recorder(list[Record]):
    """The statements of one request, command or block that is still running.

    A list, so that a hook pays for one append only. Threads may share it. A plain request
    pays for making one, so that what most never need is made when it is needed. ``touched``
    holds the mapped attributes that were read, by identity; None where nobody notes them.
    """

    closed = False
    touched: dict[int, Any] | None = None
    _causes: Causes | None = None
    _calls: Calls | None = None
    _flushes: list[int] | None = None

    def __init__(self) -> None:
        self.parent = current()
        self.started = perf_counter_ns()
        self._lock = RLock()

    @property
    def total(self) -> int:
        """Statements so far, those of blocks inside that have ended included."""
        waiting = 0 if self.closed else len(self)
        return waiting + sum(cause.count for cause in (self._causes or {}).values())

    @property
    def folded(self) -> bool:
        """Whether there is more to look at than the waiting records."""
        return self._causes is not None or self._calls is not None

    @property
    def calls(self) -> tuple[Call, ...]:
        """The calls so far that are no statements."""
        return tuple((self._calls or {}).values())

    def note(self, kind: str, name: str, key: int, started: int, ended: int, site: Site) -> None:
        """Count a call that is no statement; times are in nanoseconds.

        :param key: a fingerprint of what it asked for.
        """
        with self._lock:
            if self.closed:
                return
            if self._calls is None:
                self._calls = Calls()
            self._calls.add((kind, name, key, started, ended, site))

    def fold(self) -> tuple[Cause, ...]:
        """Turn the waiting records into causes and return all causes so far."""
        with self._lock:
            records = self[:]
            del self[: len(records)]
            if self._causes is None:
                self._causes = Causes()
            if not self.closed:
                flushes = self._flushes or []
                self._causes.add(records, flushes)
                del flushes[: len(flushes) // 2 * 2]  # one that is still open goes on
            return tuple(self._causes.values())

    def close(self) -> None:
        """End the recording; what arrives later is dropped.

        The recorder that was open around this one gets what it saw. Only the first call counts.
        """
        causes = self.fold()
        if not self.closed:
            self.closed = True
            if self.parent is not None:
                self.parent.absorb(causes, self.calls)
                if self.touched and self.parent.touched is not None:
                    self.parent.touched.update(self.touched)

    def discard(self) -> None:
        """End the recording and forget what it saw."""
        self.closed = True
        self.clear()

    def absorb(self, causes: Iterable[Cause], calls: Iterable[Call]) -> None:
        """Take what a recorder saw that was open inside this one."""
        with self._lock:
            if self.closed:
                return
            if self._causes is None:
                self._causes = Causes()
            self._causes.absorb(causes)
            if self._calls is None:
                self._calls = Calls()
            self._calls.absorb(calls)

    def begin_flush(self) -> None:
        """Note that a session begins to write what has changed in it."""
        self.end_flush()  # one that failed never said that it ended
        if self._flushes is None:
            self._flushes = []
        elif len(self._flushes) > MOST_RECORDS:
            self.fold()
        self._flushes.append(perf_counter_ns())

    def end_flush(self) -> None:
        """Note that the session has written."""
        if self._flushes is not None and len(self._flushes) % 2:
            self._flushes.append(perf_counter_ns())
