"""The open profile: hooks append to it while the request runs, and nothing is judged."""

from __future__ import annotations

from _thread import RLock
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from threading import get_ident
from time import perf_counter_ns
from typing import Any

from flask_perfkit.recording.allowances import Allowance, Span, holding, outside
from flask_perfkit.recording.calls import Call, Calls
from flask_perfkit.recording.callsite import Site
from flask_perfkit.recording.cause import Cause
from flask_perfkit.recording.causes import Causes, Record
from flask_perfkit.recording.findings import Finding

MOST_RECORDS = 1_000
"""Records that wait; more are folded into causes, so that a long job stays small."""

MOST_TEXT = 10_000_000
"""Characters of long statements that wait; more are folded, too."""

_MOST_ALLOWANCES = 100
_MOST_REPORTED = 1_000

_current: ContextVar[Recorder | None] = ContextVar("flask_perfkit_recorder", default=None)

current = _current.get
"""Return the recorder that is open in this context, or None."""

enter = _current.set
"""Make a recorder the open one; returns the token for :data:`leave`."""

leave = _current.reset
"""Make the recorder that was open before :data:`enter` the open one again."""


@contextmanager
def opened(recorder: Recorder | None) -> Iterator[None]:
    """Let a recorder be the open one for a block; with None nobody records it."""
    token = enter(recorder)
    try:
        yield
    finally:
        leave(token)


def unrecorded() -> AbstractContextManager[None]:
    """Let nothing of a block count as the application's work."""
    return opened(None)


class Recorder(list[Record]):
    """The statements of one request, command or block that is still running.

    A list, so that a hook pays for one append only. Threads may share it. A plain request
    pays for making one, so that what most never need is made when it is needed. ``touched``
    holds the mapped attributes that were read, by identity; None where nobody notes them.
    ``has_more`` says that there is more to look at than the waiting records, ``waiting_text`` how
    many characters the long statements among these have,
    ``failed_statements`` is the number of its own that ended with an error, and ``elapsed`` the
    nanoseconds until the first look at it.
    """

    stands_alone = False
    """Whether it is a request or a command: repeating one is no loop of the code around it."""

    opened_in: int | None = None
    """The thread or greenlet that it was opened in; None of a request, whose frames tell."""

    closed = False
    elapsed = 0
    has_more = False
    waiting_text = 0
    failed_statements = 0
    touched: dict[int, Any] | None = None
    _causes: Causes | None = None
    _calls: Calls | None = None
    _flushes: list[int] | None = None
    _spans: dict[Allowance, Span] | None = None
    _inside: Causes | None = None
    _reported: dict[Any, Finding] | None = None

    def __init__(self) -> None:
        self.parent = current()
        self.opened_in = get_ident()
        self.started = perf_counter_ns()

    @property
    def _lock(self) -> AbstractContextManager[Any]:
        """Guards what is rarely needed, so it is made when it is first asked for, once."""
        lock: AbstractContextManager[Any] = vars(self).setdefault("_own_lock", RLock())
        return lock

    @property
    def total(self) -> int:
        """Statements so far, those of blocks inside that have ended included."""
        own = (self._causes or {}).values()
        waiting = 0 if self.closed else len(self)
        return waiting + sum(cause.count for cause in (*own, *self.inside))

    @property
    def calls(self) -> tuple[Call, ...]:
        """The calls so far that are no statements."""
        return tuple((self._calls or {}).values())

    @property
    def inside(self) -> tuple[Cause, ...]:
        """The causes of requests and commands that ran inside."""
        return tuple((self._inside or {}).values())

    @property
    def reported(self) -> tuple[Finding, ...]:
        """The findings of requests and commands that ran inside, one for each line."""
        return tuple((self._reported or {}).values())

    @property
    def allowances(self) -> tuple[Allowance, ...]:
        """What the code inside allows, or did for a part."""
        return tuple(self._spans or ())

    @property
    def spans(self) -> list[tuple[Allowance, Span]]:
        """When what is allowed holds, by the code inside and by that around."""
        spans = list(self._spans.items()) if self._spans else []
        if self.parent is not None:
            spans += self.parent.spans
        elif around := outside.get():
            spans += [(allowance, Span([0])) for allowance in around]
        return spans

    def note(self, kind: str, name: str, key: int, started: int, ended: int, site: Site) -> None:
        """Count a call that is no statement; times are in nanoseconds.

        :param key: a fingerprint of what it asked for.
        """
        with self._lock:
            if self.closed:
                return
            self.has_more = True
            if self._calls is None:
                self._calls = Calls()
            allowed = holding(self.spans, started)
            self._calls.add((kind, name, key, started, ended, site, allowed))

    def fold(self) -> tuple[Cause, ...]:
        """Turn the waiting records into causes and return all causes so far."""
        with self._lock:
            records = self._take()
            self.has_more = True
            if self._causes is None:
                self._causes = Causes()
            if records and not self.closed:
                flushes = self._flushes or []
                if spans := self.spans:
                    for allowed, group in _by_allowances(records, spans):
                        self._causes.add(group, flushes, allowed)
                else:
                    self._causes.add(records, flushes)
                del flushes[: len(flushes) // 2 * 2]  # one that is still open goes on
            return tuple(self._causes.values())

    def weigh(self, statement: str) -> None:
        """Fold what waits if the texts of statements that nobody else keeps become many."""
        self.waiting_text += len(statement)
        if self.waiting_text > MOST_TEXT:
            self.fold()

    def _take(self) -> list[Record]:
        """Remove the waiting records; others may arrive meanwhile."""
        records = self[:]
        self.waiting_text = 0
        del self[: len(records)]
        return records

    def close(self) -> None:
        """End the recording; what arrives later is dropped.

        The recorder that was open around this one gets what it saw. Only the first call counts.
        """
        if self.closed:
            return
        try:
            self.fold()
        finally:
            self.closed = True
        if self.parent is not None:
            self.parent.absorb(self)
            if self.touched and self.parent.touched is not None:
                self.parent.touched.update(self.touched)

    def discard(self) -> None:
        """End the recording and forget what it saw."""
        self.closed = True
        self.clear()

    def absorb(self, inner: Recorder) -> None:
        """Take what a recorder saw that was open inside this one."""
        with self._lock:
            if self.closed:
                return
            self.has_more = True
            self._causes = self._causes or Causes()
            self._inside = self._inside or Causes()
            self._inside.absorb(inner.inside)
            if inner.stands_alone:
                self._inside.absorb(inner.fold())
            else:
                self._causes.absorb(inner.fold())
                self.failed_statements += inner.failed_statements
                self._calls = self._calls or Calls()
                self._calls.absorb(inner.calls)
        self.report(inner.reported)

    def report(self, findings: Iterable[Finding]) -> None:
        """Take the findings of requests and commands that ran inside."""
        with self._lock:
            self._reported = self._reported or {}
            for finding in findings:
                line = (finding.filename, finding.lineno)
                key = (type(finding), finding.kind, finding.subject, *line)
                if len(self._reported) < _MOST_REPORTED:
                    self._reported.setdefault(key, finding)

    def begin_allowing(self, allowance: Allowance) -> None:
        """Note that a kind of finding is allowed from now on."""
        with self._lock:
            self.has_more = True
            self._spans = self._spans or {}
            if allowance in self._spans or len(self._spans) < _MOST_ALLOWANCES:
                span = self._spans.setdefault(allowance, Span())
                if len(span.moments) > MOST_RECORDS:
                    self.fold()
                    span.forget()
                span.begin(perf_counter_ns())

    def end_allowing(self, allowance: Allowance) -> None:
        """Note that the block which allowed it has ended."""
        with self._lock:
            span = (self._spans or {}).get(allowance)
            if span is not None:
                span.end(perf_counter_ns())

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


def _by_allowances(
    records: list[Record], spans: list[tuple[Allowance, Span]]
) -> Iterable[tuple[tuple[Allowance, ...], list[Record]]]:
    """Split records by what was allowed when they began."""
    groups = defaultdict(list)
    for record in records:
        _, _, started, *_ = record
        groups[holding(spans, started)].append(record)
    return groups.items()
