"""What happened in one request, command or block, as plain data."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain, repeat
from operator import attrgetter
from typing import Any, Generic, NamedTuple, TypeVar, overload

from flask_perfkit.recording.allowances import Allowance
from flask_perfkit.recording.answer import Answer
from flask_perfkit.recording.calls import Call
from flask_perfkit.recording.cause import Cause, Query, Tally
from flask_perfkit.recording.eager import Step
from flask_perfkit.recording.findings import AllowedFinding, Finding
from flask_perfkit.recording.fingerprint import WRITES

ANY_TABLE = ""
"""Where a statement writes of which that is not known: a procedure, a definition, a setting."""

_MOST_LOOKED_AT = 100
_SECONDS = 1e-9

_started = attrgetter("started")

T = TypeVar("T")


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


def _moments(causes: Iterable[Cause]) -> list[int]:
    """Return when the executions of causes began, in order."""
    executions = chain.from_iterable(cause.executions for cause in causes)
    return sorted(chain.from_iterable(map(_started, executions)))


class Bringer(NamedTuple):
    """A select that brought objects, and the way that it loaded along to them."""

    cause: Cause
    way: tuple[Step, ...]


class View(NamedTuple):
    """Where the function that answers a request is defined."""

    filename: str
    lineno: int
    function: str


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
