"""The open profile: hooks append to it while the request runs, and nothing is judged."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextvars import ContextVar
from itertools import compress
from operator import attrgetter, itemgetter, sub
from threading import RLock
from time import perf_counter_ns
from typing import Any

from flask_perfkit.callsite import Site
from flask_perfkit.fingerprint import (
    WRITES,
    Shape,
    fingerprints,
    in_rows,
    moving,
    operation_of,
    shape_of,
)
from flask_perfkit.profile import MOST_EXECUTIONS, Cause, CauseKey, Executions
from flask_perfkit.reason import Reason, path_of, reason_of

Record = tuple[str, Any, int, int, Site, Any, Any, Any]
"""What a hook appends: statement, parameters, start and end in nanoseconds, site, what was
seen of the rows, the statement as it was invoked, its execution options."""

MOST_RECORDS = 1_000
"""Records that wait; more are folded into causes, so that a long job stays small."""

_MOST_CAUSES = 2_000
_MOST_CALLERS = 1_000
_MOST_VALUES = 10_000
_MOST_REASONS = 1_000
_SECONDS = 1e-9

_by_text_and_site = itemgetter(0, 4)
_paths = attrgetter("_compile_options._current_path")
_rows, _fetched, _errors = attrgetter("rows"), attrgetter("fetched"), attrgetter("error")

_current: ContextVar[Recorder | None] = ContextVar("flask_perfkit_recorder", default=None)

current = _current.get
"""Return the recorder that is open in this context, or None."""

enter = _current.set
"""Make a recorder the open one; returns the token for :data:`leave`."""

leave = _current.reset
"""Make the recorder that was open before :data:`enter` the open one again."""


class Recorder(list[Record]):
    """The statements of one request, command or block that is still running.

    A list, so that a hook pays for one append only. Threads may share it.
    """

    __slots__ = ("_causes", "_lock", "closed", "flushes", "parent", "started")

    def __init__(self) -> None:
        super().__init__()
        self.parent = current()
        self.started = perf_counter_ns()
        self.flushes: list[int] = []
        self.closed = False
        self._causes: dict[CauseKey, Cause] = {}
        self._lock = RLock()

    @property
    def total(self) -> int:
        """Statements so far, those of blocks inside that have ended included."""
        return len(self) + sum(cause.count for cause in self._causes.values())

    @property
    def folded(self) -> bool:
        """Whether some statements are causes already."""
        return bool(self._causes)

    def discard(self) -> None:
        """End the recording and forget what it saw."""
        self.closed = True
        self.clear()

    def fold(self) -> tuple[Cause, ...]:
        """Turn the waiting records into causes and return all causes so far."""
        with self._lock:
            records = self[:]
            del self[: len(records)]
            if not self.closed:
                self._fold(records)
            return tuple(self._causes.values())

    def close(self) -> tuple[Cause, ...]:
        """End the recording and return its causes; what arrives later is dropped.

        The recorder that was open around this one gets them too. Only the first call counts.
        """
        causes = self.fold()
        if not self.closed:
            self.closed = True
            if self.parent is not None:
                self.parent.absorb(causes)
        return causes

    def begin_flush(self) -> None:
        """Note that a session begins to write what has changed in it."""
        self.end_flush()  # one that failed never said that it ended
        if len(self.flushes) > MOST_RECORDS:
            self.fold()
        self.flushes.append(perf_counter_ns())

    def end_flush(self) -> None:
        """Note that the session has written."""
        if len(self.flushes) % 2:
            self.flushes.append(perf_counter_ns())

    def absorb(self, causes: Iterable[Cause]) -> None:
        """Take the causes of a recorder that was open inside this one."""
        with self._lock:
            if self.closed:
                return
            for cause in causes:
                known = self._causes.get(cause.key)
                if known is not None:
                    known.merge(cause)
                elif len(self._causes) < _MOST_CAUSES:
                    self._causes[cause.key] = cause.copy()

    def _fold(self, records: list[Record]) -> None:
        groups: defaultdict[tuple[str, Site], list[Record]] = defaultdict(list)
        for record, key in zip(records, map(_by_text_and_site, records), strict=True):
            groups[key].append(record)
        for (sql, site), same in groups.items():
            for group in _by_path(same):
                self._add(sql, site, group)
        # A flush that is still open goes on; those before it are counted.
        del self.flushes[: len(self.flushes) // 2 * 2]

    def _add(self, sql: str, site: Site, records: list[Record]) -> None:
        _, parameters, started, ended, _, seen, statements, options = zip(*records, strict=True)
        shape = shape_of(sql)
        reason = _reason(sql, site, statements[0], options[0], shape)
        cause = self._cause(shape, reason, site)
        count = len(records)
        cause.count += count
        cause.duration += (sum(ended) - sum(started)) * _SECONDS
        cause.slowest = max(cause.slowest, max(map(sub, ended, started)) * _SECONDS)
        cause.longest_keys = max(cause.longest_keys, shape.keys)
        if site.caller is not None and len(cause.callers) < _MOST_CALLERS:
            cause.callers[site.caller.filename, site.caller.lineno] += count
        self._add_rows(cause, started, ended, seen)
        _add_values(cause, shape, parameters)
        if cause.operation in WRITES:
            cause.writes += self._writes(started)

    def _add_rows(
        self, cause: Cause, started: Sequence[int], ended: Sequence[int], seen: Sequence[Any]
    ) -> None:
        rows, fetched = tuple(map(_rows, seen)), tuple(map(_fetched, seen))
        errors = tuple(map(_errors, seen))
        cause.rows += sum(rows)
        cause.most_rows = max(cause.most_rows, *rows)
        cause.fetch_duration += (
            sum(filter(None, fetched)) - sum(compress(ended, fetched))
        ) * _SECONDS
        cause.errors += sum(map(bool, errors))
        if cause.count <= MOST_EXECUTIONS or not cause.executions:
            cause.executions.append(Executions(self.started, started, ended, fetched, rows, errors))

    def _writes(self, started: Sequence[int]) -> int:
        """Count what the code did: a flush is one, however many statements it sent."""
        if not self.flushes:
            return len(started)
        places = [bisect_right(self.flushes, moment) for moment in started]
        inside = {place for place in places if place % 2}
        return len(inside) + sum(1 for place in places if place % 2 == 0)

    def _cause(self, shape: Shape, reason: Reason, site: Site) -> Cause:
        asked = site.asked
        line = (asked.filename, asked.lineno) if asked else (None, None)
        cause = self._causes.get((shape.text, reason.subject, *line))
        if cause is None:
            full = len(self._causes) >= _MOST_CAUSES
            cause = Cause(
                sql="(more statements)" if full else shape.text,
                operation=operation_of(shape.text),
                reason=reason,
                filename=line[0],
                lineno=line[1],
                function=asked.function if asked else None,
            )
            if not full:
                self._causes[cause.key] = cause
        return cause


def _by_path(records: list[Record]) -> Iterator[list[Record]]:
    """Split executions of one text at one line by the relationship that asked for them."""
    if len(records) == 1:
        yield records
        return
    statements = [record[6] for record in records]
    try:
        paths = list(map(_paths, statements))
    except AttributeError:
        yield records
        return
    if len(set(paths)) == 1:
        yield records
        return
    groups = defaultdict(list)
    for record, path in zip(records, paths, strict=True):
        groups[path].append(record)
    yield from groups.values()


def _add_values(cause: Cause, shape: Shape, parameters: Sequence[Any]) -> None:
    rows = in_rows(parameters)
    if len(cause.values) < _MOST_VALUES:
        cause.values.update(fingerprints(rows, shape.literals))
    if len(rows) > 1:
        cause.moves |= moving(rows, shape)
    if cause.count > len(rows) and cause.literals != shape.literals:
        cause.moves.update(
            comparison
            for before, now, comparison in zip(
                cause.literals, shape.literals, shape.literals_compared, strict=False
            )
            if before != now
        )
    cause.literals = shape.literals


_reasons: dict[Any, Reason] = {}


def _reason(sql: str, site: Site, statement: Any, options: Any, shape: Shape) -> Reason:
    try:
        path = path_of(statement)
        refreshed = options["_sa_orm_load_options"]._refresh_state is not None
    except (AttributeError, KeyError):
        path, refreshed = None, False
    key = (sql, site, path, refreshed)
    reason = _reasons.get(key)
    if reason is None:
        if len(_reasons) >= _MOST_REASONS:
            _reasons.clear()
        reason = _reasons[key] = reason_of(
            statement, options, shape.text, site.touched, site.expired
        )
    return reason
