"""What happened in one request, command or block, as plain data."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain, repeat
from operator import attrgetter, itemgetter
from typing import Any, Generic, NamedTuple, TypeVar, overload

from flask_perfkit.recording.allowances import Allowance
from flask_perfkit.recording.callsite import Span
from flask_perfkit.recording.findings import AllowedFinding, Finding
from flask_perfkit.recording.fingerprint import WRITES, Comparison
from flask_perfkit.recording.issued import Issued
from flask_perfkit.recording.reason import Reason, Step
from flask_perfkit.recording.tables import NO_TABLE
from flask_perfkit.recording.targets import Target

MOST_EXECUTIONS = 1_000
"""Executions of one cause that are kept one by one; beyond that they are counted."""

MOST_VALUES = 10_000
"""Sets of parameters of one cause that are told apart."""

MOST_CALLERS = 10
"""Callers that a finding names."""

ANY_TABLE = ""
"""Where a statement writes of which that is not known: a procedure, a definition, a setting."""

_READS = ("SELECT", "EXPLAIN", "SHOW", "SAVEPOINT", "RELEASE")
"""How statements begin that change nothing."""

_MOST_LOOKED_AT = 100
_SECONDS = 1e-9

_started = attrgetter("started")

K = TypeVar("K")
T = TypeVar("T")


class Tally(Counter[K]):
    """A counter that begins empty, or with the counts of another, at the price of a dictionary."""

    __init__ = dict.__init__


class kept(Generic[T]):  # noqa: N801
    """A property that is worked out once; ``functools`` takes a lock for it before Python 3.12."""

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make = make
        self._name = make.__name__
        self.__doc__ = make.__doc__

    @overload
    def __get__(self, owner: None, kind: type) -> kept[T]: ...

    @overload
    def __get__(self, owner: object, kind: type) -> T: ...

    def __get__(self, owner: object, kind: type) -> kept[T] | T:
        if owner is None:
            return self
        value = vars(owner)[self._name] = self._make(owner)
        return value


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


@dataclass(slots=True)
class Call:
    """All calls of one name at one line that are no statements.

    ``kind`` is ``"redis"``, ``"cache"``, ``"blocking"``, ``"refused_relationship"`` or
    ``"refused_column"``; of the keys only fingerprints are kept, of what was refused to load the
    moment at which its object had been loaded. ``started`` is when the first call began, ``ended``
    when the last one did end, on the clock of ``perf_counter_ns``.
    ``allowances`` held while it was called.
    """

    kind: str
    name: str
    filename: str | None
    lineno: int | None
    function: str | None
    count: int = 0
    duration: float = 0.0
    started: int = 0
    ended: int = 0
    keys: set[int] = field(default_factory=set)
    callers: Counter[tuple[str, int]] = field(default_factory=Tally)
    allowances: tuple[Allowance, ...] = ()

    @property
    def common_callers(self) -> tuple[tuple[str, int, int], ...]:
        """The application lines one step out with their counts, most frequent first."""
        return most_common(self.callers)

    def to_dict(self) -> dict[str, Any]:
        """Return what may be shown as plain data that JSON can hold."""
        return {
            "kind": self.kind,
            "name": self.name,
            "filename": self.filename,
            "lineno": self.lineno,
            "function": self.function,
            "count": self.count,
            "duration": self.duration,
        }


def _moments(causes: Iterable[Cause]) -> list[int]:
    """Return when the executions of causes began, in order."""
    executions = chain.from_iterable(cause.executions for cause in causes)
    return sorted(chain.from_iterable(map(_started, executions)))


def most_common(callers: Mapping[tuple[str, int], int]) -> tuple[tuple[str, int, int], ...]:
    """Return lines with their counts, the most frequent first."""
    if not callers:
        return ()
    counted = sorted(callers.items(), key=itemgetter(1), reverse=True)
    return tuple((*line, count) for line, count in counted[:MOST_CALLERS])


class Bringer(NamedTuple):
    """A select that brought objects, and the way that it loaded along to them."""

    cause: Cause
    way: tuple[Step, ...]


class View(NamedTuple):
    """Where the function that answers a request is defined."""

    filename: str
    lineno: int
    function: str


LARGE_ANSWER = 10_000
"""Bytes of an answer from which on it matters how it is sent."""


class Answer(NamedTuple):
    """What the headers of an answer say, and of its request what decides how it may be sent.

    ``length`` is in bytes, None where it is not known; ``encoding`` is None where nothing is
    compressed. ``lasts`` says for how many seconds a cache may use it without asking.
    """

    mimetype: str
    length: int | None
    encoding: str | None
    lasts: int | None
    is_static: bool
    takes_compression: bool
    through_proxy: bool


@dataclass(eq=False)
class Profile:
    """One request, command or block: what it asked for, how long it took, what was found.

    Durations are in seconds, ``memory_delta`` in bytes (None where it is not measured).
    ``sql_duration`` is the time to execute; fetching is apart in each query. ``touched``
    are the mapped attributes that were read, None where nobody notes them, ``answered`` counts by
    model the objects that a session had already when it was asked for them; ``zero`` is the start
    on the clock of ``perf_counter_ns``, ``mount`` the prefix that the application is mounted
    under. ``answer`` is None where nobody judges how answers are sent. ``allowances`` are what
    the code allowed, ``allowed`` the findings that they kept out of ``findings``, ``unmatched``
    those of its own that have nothing to allow any more. ``id`` is set where somebody was told it
    before the response left, ``sample_rate`` is the share of its like that is watched, ``failed``
    says of work that is no request that it ended with an error.
    """

    endpoint: str | None = None
    rule: str | None = None
    method: str | None = None
    path: str | None = None
    status: int | None = None
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    duration: float = 0.0
    causes: tuple[Cause, ...] = ()
    view: View | None = None
    cache_calls: tuple[Call, ...] = ()
    blocking_calls: tuple[Call, ...] = ()
    refused_loads: tuple[Call, ...] = ()
    templates: tuple[Call, ...] = ()
    findings: tuple[Finding, ...] = ()
    allowances: tuple[Allowance, ...] = ()
    allowed: tuple[AllowedFinding, ...] = ()
    unmatched: tuple[Allowance, ...] = ()
    memory_delta: int | None = None
    touched: frozenset[str] | None = None
    answered: Counter[str] = field(default_factory=Tally)
    zero: int = 0
    mount: str = ""
    answer: Answer | None = None
    id: str = ""
    sample_rate: float = 1.0
    failed: bool = False

    @property
    def query_count(self) -> int:
        """Statements that were executed, those included that were not kept one by one."""
        return sum(cause.count for cause in self.causes)

    @kept
    def sql_duration(self) -> float:
        """Seconds that all statements took to execute."""
        return sum(cause.duration for cause in self.causes)

    @kept
    def queries(self) -> tuple[Query, ...]:
        """Return the statements in the order in which they began."""
        queries = chain.from_iterable(cause.queries(self.zero) for cause in self.causes)
        return tuple(sorted(queries, key=lambda query: query.started))

    @kept
    def _ends(self) -> tuple[Sequence[int], Sequence[int]]:
        """When executions ended that were kept, in order, each with the place of its cause."""
        each = (zip(cause.ends, repeat(place)) for place, cause in enumerate(self.causes))
        moments, places = zip(*sorted(chain.from_iterable(each)), strict=True)
        return moments, places

    def brought_by(self, moments: Mapping[int, int]) -> list[Cause]:
        """Return the causes that brought objects, by how many were loaded at which moment.

        Those are the last to have ended before; the cause of most of them comes first.
        """
        if not moments:
            return []
        ends, places = self._ends
        found: Tally[int] = Tally()
        for moment, count in moments.items():
            if before := bisect_right(ends, moment):
                found[places[before - 1]] += count
        return [self.causes[place] for place, _ in found.most_common()]

    @kept
    def _selects(self) -> tuple[list[int], list[Cause]]:
        """When each select was first sent that may bring objects, in order, with its cause."""
        causes = [
            cause
            for cause in self.causes
            if cause.operation == "SELECT" and cause.reason.kind != "column"
        ]
        causes.sort(key=attrgetter("started"))
        return [cause.started for cause in causes], causes

    def bringers(self, parents: tuple[str, ...], moment: int) -> list[Bringer]:
        """Return the selects before a moment that bring objects of a class, the last one first.

        Only the last are looked at, since a request may have thousands of lines.

        :param parents: the class and its mapped bases.
        """
        moments, causes = self._selects
        end = bisect_left(moments, moment)
        ways = (
            Bringer(cause, way)
            for cause in reversed(causes[max(end - _MOST_LOOKED_AT, 0) : end])
            if (way := cause.reason.way_to(parents)) is not None
        )
        return list(ways)

    @kept
    def written(self) -> list[int]:
        """Return the moments at which something was written, in order."""
        return _moments(cause for cause in self.causes if cause.operation in WRITES)

    def is_written_between(self, cause: Cause) -> bool:
        """Tell whether a table that a cause reads may have been written while it did."""
        return any(
            cause.has_between(self._written_to(table))
            for table in (ANY_TABLE, *cause.reason.tables)
            if table in self._writers
        )

    @kept
    def _writers(self) -> dict[str, list[Cause]]:
        """Return by table the causes that may write to it."""
        writers: defaultdict[str, list[Cause]] = defaultdict(list)
        for cause in self.causes:
            if cause.operation in WRITES:
                for table in cause.reason.tables:
                    writers[table].append(cause)
            elif cause.may_do_anything:
                writers[ANY_TABLE].append(cause)
        return writers

    @kept
    def _moments_of(self) -> dict[str, list[int]]:
        return {}

    def _written_to(self, table: str) -> list[int]:
        moments = self._moments_of.get(table)
        if moments is None:
            moments = self._moments_of[table] = _moments(self._writers[table])
        return moments

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data that JSON can hold."""
        return {
            "endpoint": self.endpoint,
            "rule": self.rule,
            "method": self.method,
            "path": self.path,
            "status": self.status,
            "started_at": self.started_at.isoformat(),
            "duration": self.duration,
            "sql_duration": self.sql_duration,
            "query_count": self.query_count,
            "queries": [query._asdict() for query in self.queries],
            "cache_calls": [call.to_dict() for call in self.cache_calls],
            "blocking_calls": [call.to_dict() for call in self.blocking_calls],
            "findings": [finding.to_dict() for finding in self.findings],
            "allowed": [finding.to_dict() for finding in self.allowed],
            "memory_delta": self.memory_delta,
        }
