"""Many executions become few causes: the same statement for the same reason at one line.

Nearly all of it is done by calls into C over whole columns, because an N+1 of a hundred
statements must not cost a hundred times what one costs.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import compress, groupby
from operator import attrgetter, itemgetter, lt, sub
from typing import Any

from flask_perfkit.recording.allowances import Allowance
from flask_perfkit.recording.callsite import Asked, Site
from flask_perfkit.recording.cause import MOST_EXECUTIONS, MOST_VALUES, Cause, CauseKey, Executions
from flask_perfkit.recording.fingerprint import (
    Shape,
    differing,
    fingerprints,
    in_rows,
    marks_of,
    moving,
    operation_of,
    shape_of,
)
from flask_perfkit.recording.issued import issued_of
from flask_perfkit.recording.reason import Reason, path_of, reason_of
from flask_perfkit.recording.targets import Target, by_target

Record = tuple[Asked, Any, int, int, Any, Any, Any]
"""What a hook appends: statement and site, parameters, start and end in nanoseconds, what was
seen of the rows, the statement as it was compiled (None for SQL that went to the driver), its
execution options. What was compiled is in SQLAlchemy's cache, and so kept for nothing; the
invoked statement is made anew by each lazy load."""

_MOST_CAUSES = 2_000
_MOST_CALLERS = 1_000
_MOST_REASONS = 1_000
_MOST_SPANS = 10
_SECONDS = 1e-9

_asked, _compiled = itemgetter(0), itemgetter(5)
_load_options = itemgetter("_sa_orm_load_options")
_runid = attrgetter("_lazy_loaded_from.runid")
_path = attrgetter("statement._compile_options._current_path")
_rows, _fetched, _error = attrgetter("rows"), attrgetter("fetched"), attrgetter("error")


class Causes(dict[CauseKey, Cause]):
    """The causes of one recorder."""

    def add(
        self,
        records: Iterable[Record],
        flushes: Sequence[int],
        allowances: tuple[Allowance, ...] = (),
    ) -> None:
        """Count records under their causes.

        :param flushes: when sessions began and ended to flush, in turn.
        :param allowances: what was allowed while the records were made.
        """
        groups: defaultdict[Asked, list[Record]] = defaultdict(list)
        for key, run in groupby(records, _asked):
            groups[key] += run
        for (sql, site), same in groups.items():
            for group in _by_path(same):
                for target, executions in by_target(group):
                    self._add(sql, site, executions, flushes, (target, allowances))

    def absorb(self, causes: Iterable[Cause]) -> None:
        """Add the causes that another recorder saw."""
        for cause in causes:
            known = self.get(cause.key)
            if known is not None:
                known.merge(cause)
            elif len(self) < _MOST_CAUSES:
                self[cause.key] = cause.copy()
            else:
                self._rest().merge(cause)

    def _add(
        self,
        sql: str,
        site: Site,
        records: Sequence[Record],
        flushes: Sequence[int],
        held: tuple[Target, tuple[Allowance, ...]],
    ) -> None:
        _, parameters, started, ended, seen, compiled, options = zip(*records, strict=True)
        shape = shape_of(sql)
        reason = _reason(shape, site, compiled[0], options[0])
        cause = self._cause(shape, reason, site, *held)
        count = len(records)
        cause.issued = cause.issued or issued_of(compiled[0], options[0])
        cause.count += count
        if len(cause.spans) < _MOST_SPANS:
            cause.spans.add(site.span)
        cause.duration += (sum(ended) - sum(started)) * _SECONDS
        cause.slowest = max(cause.slowest, max(map(sub, ended, started)) * _SECONDS)
        cause.keys += shape.keys * count
        if shape.keys and len(cause.chunks) < MOST_VALUES:
            cause.chunks[shape.keys] += count
        _add_bringers(cause, options, started)
        caller = None if site.caller is None else (site.caller.filename, site.caller.lineno)
        if caller is not None and len(cause.callers) < _MOST_CALLERS:
            cause.callers[caller] += count
        self._add_rows(cause, started, ended, seen, caller)
        _add_values(cause, shape, parameters)
        flushed, direct = _flushed(started, flushes) if site.flushing else (set(), count)
        cause.flushes += len(flushed)
        cause.direct += direct
        if flushed and len(cause.flushed_at) < MOST_VALUES:
            cause.flushed_at |= flushed

    def _add_rows(
        self,
        cause: Cause,
        started: Sequence[int],
        ended: Sequence[int],
        seen: Sequence[Any],
        caller: tuple[str, int] | None,
    ) -> None:
        rows, fetched = tuple(map(_rows, seen)), tuple(map(_fetched, seen))
        errors = tuple(map(_error, seen))
        cause.rows += sum(rows)
        cause.most_rows = max(cause.most_rows, *rows)
        cause.fetch_duration += (
            sum(filter(None, fetched)) - sum(compress(ended, fetched))
        ) * _SECONDS
        cause.errors += sum(map(bool, errors))
        last = seen[-1]
        if last.branches is not None:
            for each in seen:
                cause.joined = max(cause.joined, (each.rows, each.expected))
            cause.collections = last.branches.collections
        if last.widths:
            cause.widths.update(last.widths)
        if cause.count <= MOST_EXECUTIONS or not cause.executions:
            cause.executions.append(Executions(started, ended, fetched, rows, errors, caller))

    def _cause(
        self,
        shape: Shape,
        reason: Reason,
        site: Site,
        target: Target,
        allowances: tuple[Allowance, ...],
    ) -> Cause:
        asked = site.asked
        line = (asked.filename, asked.lineno) if asked else (None, None)
        cause = self.get((shape.text, reason.subject, *line, target, allowances))
        if cause is not None:
            return cause
        if len(self) >= _MOST_CAUSES:
            return self._rest()
        cause = Cause(
            sql=shape.text,
            operation=operation_of(shape.text),
            reason=reason,
            filename=line[0],
            lineno=line[1],
            function=asked.function if asked else None,
            library=site.library,
            flushing=site.flushing,
            target=target,
            allowances=allowances,
        )
        self[cause.key] = cause
        return cause

    def _rest(self) -> Cause:
        """Return the one that counts what there is no room for."""
        rest = Cause("(more statements)", "", Reason("statement", "?"), None, None, None)
        return self.setdefault(rest.key, rest)


def _flushed(started: Sequence[int], flushes: Sequence[int]) -> tuple[set[int], int]:
    """Return when the flushes began that executions lie in, and how many lie in none."""
    if not flushes:
        return set(), len(started)
    places = [bisect_right(flushes, moment) for moment in started]
    inside = [place for place in places if place % 2]
    return {flushes[place - 1] for place in inside}, len(places) - len(inside)


def _by_path(records: list[Record]) -> Iterator[list[Record]]:
    """Split executions of one text at one line by the relationship that asked for them."""
    if len(records) == 1:
        yield records
        return
    try:
        paths = list(map(_path, map(_compiled, records)))
    except AttributeError:
        yield records
        return
    if paths.count(paths[0]) == len(paths):
        yield records
        return
    groups = defaultdict(list)
    for record, path in zip(records, paths, strict=True):
        groups[path].append(record)
    yield from groups.values()


def _add_bringers(cause: Cause, options: Sequence[Any], started: Sequence[int]) -> None:
    """Note when the statements ended that brought the objects whose relationship was read."""
    if cause.reason.kind not in ("lazy", "auto_batch"):
        return
    try:
        moments = tuple(map(_runid, map(_load_options, options)))
        # One that was loaded anew since says nothing.
        brought = tuple(compress(moments, map(lt, moments, started)))
    except (AttributeError, KeyError, TypeError):
        return  # such as an object that no statement brought
    if len(cause.brought_at) < MOST_VALUES:
        cause.brought_at.update(brought)


def _add_values(cause: Cause, shape: Shape, parameters: Sequence[Any]) -> None:
    rows = in_rows(parameters)
    if len(cause.values) < MOST_VALUES:
        cause.values.update(fingerprints(rows, shape.literals))
    if len(rows) > 1:
        cause.varying |= differing(rows)
        for comparison, one_way in moving(rows, shape).items():
            cause.moves[comparison] = cause.moves.get(comparison, True) and one_way
    marks = marks_of(rows[0])
    if cause.latest and cause.latest != marks:
        cause.varying |= differing([cause.latest, marks])
        for before, now, comparison in zip(cause.latest, marks, shape.compared, strict=False):
            if before != now:
                cause.moves.setdefault(comparison, True)
    cause.latest = marks_of(rows[-1])
    if cause.count > len(rows) and cause.literals != shape.literals:
        for before, now, comparison in zip(
            cause.literals, shape.literals, shape.literals_compared, strict=False
        ):
            if before != now:
                cause.moves.setdefault(comparison, True)
    cause.literals = shape.literals


_reasons: dict[Any, Reason] = {}


def _reason(shape: Shape, site: Site, compiled: Any, options: Any) -> Reason:
    try:
        path = path_of(compiled.statement)
        refreshed = options["_sa_orm_load_options"]._refresh_state is not None
    except (AttributeError, KeyError):
        path, refreshed = None, False
    key = (shape.text, site, path, refreshed)
    reason = _reasons.get(key)
    if reason is None:
        if len(_reasons) >= _MOST_REASONS:
            _reasons.clear()
        reason = _reasons[key] = reason_of(
            compiled, options, shape.text, site.touched, site.expired
        )
    return reason
