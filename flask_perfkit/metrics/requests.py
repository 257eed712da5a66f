"""Counts each request at its end: how long it took, what it asked the database, what it sent.

The statements are counted from the recorder's own records, in a few calls into C.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from itertools import chain
from operator import itemgetter, sub
from time import perf_counter_ns, time
from typing import TYPE_CHECKING, Any

from flask import request_finished

from flask_perfkit.faults import log_once
from flask_perfkit.hooks.requests import RequestRecorder, request_of
from flask_perfkit.metrics.store.exemplars import Exemplar, trace_of
from flask_perfkit.metrics.store.figures import figures
from flask_perfkit.metrics.store.layout import DURATION, SENT
from flask_perfkit.pages import page_of
from flask_perfkit.recording.causes import Record
from flask_perfkit.recording.recorder import current

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment
    from flask import Flask

    from flask_perfkit.metrics.store.counters import Row
    from flask_perfkit.metrics.store.figures import RowsOfSort
    from flask_perfkit.recording.cause import Executions
    from flask_perfkit.recording.recorder import Recorder

_SECONDS = 1e-9

_sort = itemgetter("REQUEST_METHOD", "SCRIPT_NAME")
_started, _ended = map(itemgetter, (2, 3))


class Statements:
    """The statements of one request that need not wait any more."""

    def __init__(self) -> None:
        self.number = self.duration = 0
        self.places: Counter[int] = Counter()

    def add(self, durations: list[int]) -> None:
        """Count statements that took so many nanoseconds."""
        self.number += len(durations)
        self.duration += sum(durations)
        self.places.update(map(figures.layout.place_of_statement, durations))


class MeasuredRequest(RequestRecorder):
    """The recorder of a request that is counted when it ends, whichever way."""

    counts_all = True
    trace: tuple[str, str] | None = None
    _statements: Statements | None = None
    _has_inner = False

    def __init__(self, environ: WSGIEnvironment) -> None:
        # What the recorder does, without the price of calling it.
        self.parent = current()
        self.started = perf_counter_ns()
        self.environ = environ
        if self.state.notes_reads:
            self.touched = {}
            self.has_more = True
        figures.count_start()

    def discard(self) -> None:
        """Count the request, and forget what it saw.

        Nearly every request comes by here: each step of it is counted too.
        """
        environ, response = self.environ, self.response
        if self.trace or "CONTENT_LENGTH" in environ or "HTTP_TRACEPARENT" in environ:
            MeasuredRequest.drop(self)
            return
        try:
            row, route = (figures.requests if self else figures.plain)[
                _sort(environ), self.asked.url_rule.rule, response.status_code  # type: ignore[union-attr]
            ]
            layout = figures.layout
            elapsed = self.elapsed
            with figures.lock:
                row[SENT] += sum(map(len, response.response))  # type: ignore[arg-type, union-attr]
                row[layout.place_of_request(elapsed)] += 1
                row[DURATION] += elapsed
                if route:
                    durations = list(map(sub, map(_ended, self), map(_started, self)))
                    route[0] += sum(durations)
                    route[layout.place_of_statements(len(durations))] += 1
                    for place in map(layout.place_of_statement, durations):
                        route[place] += 1
                    self.clear()
        except Exception:
            MeasuredRequest.drop(self)
        self.closed = True

    def drop(self) -> None:
        """Count the request, and forget what it saw: the longer way."""
        self._count()
        super().discard()

    def close(self) -> None:
        """End the recording, and count the request."""
        if not self.closed:
            super().close()
            self._count()

    def _take(self) -> list[Record]:
        records = super()._take()
        self._add(_durations(records))
        return records

    def absorb(self, inner: Recorder) -> None:
        """Take what a recorder saw that was open inside this one."""
        super().absorb(inner)
        if inner.stands_alone:
            self._has_inner |= isinstance(inner, MeasuredRequest)
            return
        for cause in inner.fold():
            kept = list(chain.from_iterable(map(_durations_of, cause.executions)))
            missing = cause.count - len(kept)
            if missing > 0:  # only their sum is known
                kept += [round(cause.duration * 1e9 - sum(kept)) // missing] * missing
            self._add(kept)

    def _add(self, durations: list[int]) -> None:
        if self._statements is None:
            self._statements = Statements()
        self._statements.add(durations)

    def _count(self) -> None:
        try:
            elapsed = perf_counter_ns() - self.started
            try:
                row, route = figures.requests[
                    _sort(self.environ), self.asked.url_rule.rule, self.response.status_code  # type: ignore[union-attr]
                ]
            except (AttributeError, KeyError):
                row, route = self._place()
            sent = self.sent
            if sent is None:
                sent = sum(map(len, self.response.response))  # type: ignore[arg-type, union-attr]
            if self:
                self._add(_durations(self))
            with figures.lock:
                row[figures.layout.place_of_request(elapsed)] += 1
                row[DURATION] += elapsed
                row[SENT] += sent
                _add_statements(route, self._statements)
                route[figures.layout.first_kind - 1] += self.failed_statements
            if "CONTENT_LENGTH" in self.environ:
                figures.count_received(row, self.environ["CONTENT_LENGTH"])
            if "HTTP_TRACEPARENT" in self.environ or self.trace is not None:
                self._note_exemplar(row, elapsed)
        except LookupError:
            figures.leave_out()
        except Exception:
            figures.leave_out()
            log_once("counting a request")

    def _place(self) -> RowsOfSort:
        """Find where a request is counted that is the first of its sort, or a rare one.

        :raises LookupError: it is not counted.
        """
        asked = self.asked
        rule = asked.url_rule if asked is not None else None
        is_ours = rule is not None and page_of(rule.endpoint) is not None
        counted_below = self.response is None and self._has_inner  # by another application of ours
        if is_ours or counted_below:
            raise LookupError
        method, prefix = self.environ["REQUEST_METHOD"], self.environ.get("SCRIPT_NAME", "")
        status = self.status
        name = rule.rule if rule is not None else None
        sort = (method, prefix), name, status
        return figures.requests.get(sort) or figures.place_of(sort, method, prefix, name, status)

    def _note_exemplar(self, row: Row, elapsed: int) -> None:
        trace = self.trace or trace_of(self.environ.get("HTTP_TRACEPARENT", ""))
        if trace is not None:
            figures.keep_exemplar(row, Exemplar(*trace, elapsed * _SECONDS, time()))


def note_traces(app: Flask) -> None:
    """Note the trace of each request, where OpenTelemetry is in use."""
    if "opentelemetry.trace" in sys.modules:
        request_finished.connect(_note_trace, app)


def _note_trace(app: Flask, **_: Any) -> None:
    from opentelemetry.trace import get_current_span

    recorder = request_of(current())
    span = get_current_span().get_span_context()
    if isinstance(recorder, MeasuredRequest) and span.is_valid and span.trace_flags.sampled:
        recorder.trace = f"{span.trace_id:032x}", f"{span.span_id:016x}"


def _durations(records: Iterable[Record]) -> list[int]:
    return list(map(sub, map(_ended, records), map(_started, records)))


def _durations_of(executions: Executions) -> Iterable[int]:
    return map(sub, executions.ended, executions.started)


def _add_statements(row: Row, statements: Statements | None) -> None:
    """Add to the row of a route; the caller holds the lock."""
    if statements is None:
        row[1] += 1
        return
    layout = figures.layout
    row[0] += statements.duration
    row[layout.place_of_statements(statements.number)] += 1
    for place, count in statements.places.items():
        row[place] += count
