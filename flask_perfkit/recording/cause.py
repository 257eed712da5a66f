"""All executions of one statement for one reason at one line, as plain data."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from operator import attrgetter, itemgetter
from typing import NamedTuple, TypeVar

from flask_perfkit.recording.allowances import Allowance
from flask_perfkit.recording.callsite import Span
from flask_perfkit.recording.fingerprint import WRITES, Comparison
from flask_perfkit.recording.issued import Issued
from flask_perfkit.recording.reason import Reason
from flask_perfkit.recording.tables import NO_TABLE
from flask_perfkit.recording.targets import Target

_SECONDS = 1e-9

_started = attrgetter("started")

MOST_EXECUTIONS = 1_000
"""Executions of one cause that are kept one by one; beyond that they are counted."""

MOST_VALUES = 10_000
"""Sets of parameters of one cause that are told apart."""

MOST_CALLERS = 10
"""Callers that a finding names."""

_READS = ("SELECT", "EXPLAIN", "SHOW", "SAVEPOINT", "RELEASE")
"""How statements begin that change nothing."""

K = TypeVar("K")


class Tally(Counter[K]):
    """A counter that begins empty, or with the counts of another, at the price of a dictionary."""

    __init__ = dict.__init__


class Executions(NamedTuple):
    """Executions that were recorded together, as columns; times are in nanoseconds.

    ``fetched`` is the moment of the last row, None where fetching was not seen; ``caller`` the
    application line one step out, which all of them have.
    """

    started: Sequence[int]
    ended: Sequence[int]
    fetched: Sequence[int | None]
    rows: Sequence[int]
    errors: Sequence[str | None]
    caller: tuple[str, int] | None = None


class Query(NamedTuple):
    """One statement that was executed, with the application line that asked for it.

    ``sql`` is its shape and never holds a value. ``duration`` is the time to execute it,
    ``fetch_duration`` the time until the last row was fetched, both in seconds; ``rows`` and
    ``fetch_duration`` are None where they could not be seen.
    """

    sql: str
    subject: str
    filename: str | None
    lineno: int | None
    function: str | None
    started: float
    duration: float
    fetch_duration: float | None
    rows: int | None
    error: str | None


CauseKey = tuple[str, str, str | None, int | None, Target, tuple[Allowance, ...]]


@dataclass(slots=True)
class Cause:
    """All executions of one statement for one reason at one line.

    ``keys`` counts the members of all IN lists, ``flushes`` and ``direct`` the executions by
    whether a flush sent them, ``flushed_at`` when these flushes began. ``moves`` is what differs
    between executions, with whether it goes one way only; ``latest`` are hashes of the values that
    came last. ``joined`` is, of a select that joins,
    the largest number of rows and how many there would be without a product of collections;
    ``collections`` are those that it may be of. ``widths`` are the average lengths of columns,
    where they are measured. ``spans`` are the expressions on the line that asked. ``library`` and
    ``flushing`` say who sent the statement, as ``Site`` does, ``target`` is where it went,
    ``chunks`` count the lengths of ``IN`` lists, and ``brought_at`` how many objects had been
    loaded at which moment. ``allowances`` held while it was executed. ``issued`` is the statement
    as SQLAlchemy holds it, where it made it; ``varying`` are the places of the bound values that
    differed between executions.
    """

    sql: str
    operation: str
    reason: Reason
    filename: str | None
    lineno: int | None
    function: str | None
    count: int = 0
    duration: float = 0.0
    fetch_duration: float = 0.0
    rows: int = 0
    most_rows: int = 0
    slowest: float = 0.0
    keys: int = 0
    flushes: int = 0
    flushed_at: set[int] = field(default_factory=set)
    direct: int = 0
    callers: Counter[tuple[str, int]] = field(default_factory=Tally)
    values: set[int] = field(default_factory=set)
    moves: dict[Comparison, bool] = field(default_factory=dict)
    literals: tuple[int, ...] = ()
    latest: tuple[int, ...] = ()
    errors: int = 0
    joined: tuple[int, int] = (0, 0)
    collections: tuple[str, ...] = ()
    spans: set[Span | None] = field(default_factory=set)
    widths: dict[str, float] = field(default_factory=dict)
    library: str | None = None
    flushing: bool = False
    target: Target = ()
    chunks: Counter[int] = field(default_factory=Tally)
    brought_at: Counter[int] = field(default_factory=Tally)
    allowances: tuple[Allowance, ...] = ()
    executions: list[Executions] = field(default_factory=list)
    issued: Issued | None = field(default=None, repr=False)
    varying: set[int] = field(default_factory=set)

    @property
    def acts(self) -> int:
        """How often the code did it.

        What one flush writes is one act, however many statements it sent; each read is one.
        """
        return self.count if self.operation == "SELECT" else self.flushes + self.direct

    @property
    def key(self) -> CauseKey:
        """What makes two executions have one cause."""
        line = (self.filename, self.lineno)
        return (self.sql, self.reason.subject, *line, self.target, self.allowances)

    @property
    def ends(self) -> Iterator[int]:
        """When the executions that were kept ended, on the clock of ``perf_counter_ns``."""
        return chain.from_iterable(some.ended for some in self.executions)

    def callers_at(self, moments: Iterable[int]) -> tuple[tuple[str, int, int], ...]:
        """Return the lines one step out that asked before moments, most frequent first.

        :param moments: each is told to the last execution that had ended before.
        """
        if len({some.caller for some in self.executions}) < 2:
            return self.common_callers
        each = ((moment, some.caller) for some in self.executions for moment in some.ended)
        ended = sorted(each, key=itemgetter(0))
        found: Tally[tuple[str, int]] = Tally()
        for place in {bisect_right(ended, moment, key=itemgetter(0)) for moment in moments}:
            caller = ended[place - 1][1] if place else None
            if caller is not None:
                found[caller] += 1
        return most_common(found)

    @property
    def started(self) -> int:
        """When the first execution began, on the clock of ``perf_counter_ns``."""
        started: int = min(map(_started, self.executions))[0]
        return started

    def has_between(self, moments: Sequence[int]) -> bool:
        """Tell whether one of the moments lies between the executions that were kept.

        :param moments: in order.
        """
        last = max(some.started[-1] for some in self.executions)
        following = bisect_right(moments, self.started)
        return following < len(moments) and moments[following] < last

    @property
    def may_do_anything(self) -> bool:
        """Whether it may change what others read, to which table is not known."""
        if self.operation in WRITES:
            return False
        if self.operation in _READS:
            return self.reason.volatile and self.reason.subject == NO_TABLE
        return True

    @property
    def time(self) -> float:
        """Seconds that the executions took, their fetching included."""
        return self.duration + self.fetch_duration

    @property
    def common_callers(self) -> tuple[tuple[str, int, int], ...]:
        """The application lines one step out with their counts, most frequent first."""
        return most_common(self.callers)

    def copy(self) -> Cause:
        """Return a cause that can grow apart from this one."""
        return replace(
            self,
            callers=self.callers.copy(),
            values=set(self.values),
            spans=set(self.spans),
            widths=dict(self.widths),
            moves=dict(self.moves),
            flushed_at=set(self.flushed_at),
            varying=set(self.varying),
            chunks=self.chunks.copy(),
            brought_at=self.brought_at.copy(),
            executions=list(self.executions),
        )

    def merge(self, other: Cause) -> None:
        """Add the executions of the same cause that another recorder saw."""
        self.count += other.count
        self.duration += other.duration
        self.fetch_duration += other.fetch_duration
        self.rows += other.rows
        self.most_rows = max(self.most_rows, other.most_rows)
        self.slowest = max(self.slowest, other.slowest)
        self.keys += other.keys
        self.flushes += other.flushes
        self.direct += other.direct
        self.errors += other.errors
        self.joined = max(self.joined, other.joined)
        self.widths.update(other.widths)
        self.callers.update(other.callers)
        self.values |= other.values
        self.spans |= other.spans
        self.moves.update(other.moves)
        self.flushed_at |= other.flushed_at
        self.varying |= other.varying
        self.chunks.update(other.chunks)
        self.brought_at.update(other.brought_at)
        if self.count <= MOST_EXECUTIONS or not self.executions:
            self.executions += other.executions

    def queries(self, zero: int) -> Iterator[Query]:
        """Yield the executions that were kept, each as a query.

        :param zero: when the profile began, on the clock of ``perf_counter_ns``.
        """
        common = (self.sql, self.reason.subject, self.filename, self.lineno, self.function)
        for some in self.executions:
            columns = (some.started, some.ended, some.fetched, some.rows, some.errors)
            for started, ended, fetched, rows, error in zip(*columns, strict=True):
                yield Query(
                    *common,
                    started=(started - zero) * _SECONDS,
                    duration=(ended - started) * _SECONDS,
                    fetch_duration=(fetched - ended) * _SECONDS if fetched else None,
                    rows=rows if rows or fetched else None,
                    error=error,
                )


def most_common(callers: Mapping[tuple[str, int], int]) -> tuple[tuple[str, int, int], ...]:
    """Return lines with their counts, the most frequent first."""
    if not callers:
        return ()
    counted = sorted(callers.items(), key=itemgetter(1), reverse=True)
    return tuple((*line, count) for line, count in counted[:MOST_CALLERS])
