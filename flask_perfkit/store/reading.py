"""What can be read from a store: plain data for each page that shows it.

Moments are seconds since the epoch, durations are seconds. A count that was scaled up from a
sample is a fraction, and what it belongs to says ``is_estimated``: it is shown with a "~".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import time
from typing import Generic, Literal, NamedTuple, TypeVar

from flask_perfkit.recording.findings import SEVERITIES
from flask_perfkit.store.histogram import Histogram

T = TypeVar("T")

Kind = Literal["request", "job", "command"]

_GONE_AFTER = 20
"""Requests of its route without it after which a finding counts as gone."""


class Period(NamedTuple):
    """From when to when; buckets that it begins or ends in belong to it as a whole."""

    since: float
    until: float

    @classmethod
    def last(cls, seconds: float) -> Period:
        """Return the period that ends now."""
        now = time()
        return cls(now - seconds, now)


class RouteKey(NamedTuple):
    """What is counted together: requests of one rule by one method, runs of one job or command.

    ``name`` is the URL rule, or the name of the job or command; ``method`` of these is ``JOB``
    and ``CLI``. What matched no rule has the name ``(unmatched)``, what there was no room for
    ``(other)``.
    """

    kind: Kind
    method: str
    name: str


@dataclass(frozen=True, slots=True)
class Found(Generic[T]):
    """One page of what was found, and how many there are in all."""

    items: Sequence[T]
    total: int


@dataclass(frozen=True, slots=True)
class Point:
    """What happened in one bucket of time; quantiles are None where nothing did."""

    at: float
    count: float
    errors: float
    p50: float | None
    p95: float | None
    p99: float | None


@dataclass(frozen=True, slots=True)
class Route:
    """What one route, job or command cost in a period.

    ``duration`` is the time of all its requests together, ``sql_duration`` the part of it that
    statements took to execute. ``points`` are the buckets of the period in order, empty ones
    included, ``step`` seconds apart. ``findings`` counts its requests that had one, by kind.
    """

    key: RouteKey
    endpoint: str
    count: float
    errors: float
    duration: float
    slowest: float
    statements: float
    sql_duration: float
    is_estimated: bool
    histogram: Histogram
    step: int
    points: Sequence[Point] = ()
    findings: dict[str, float] = field(default_factory=dict)

    @property
    def p50(self) -> float:
        """Half of the requests took no longer."""
        return self.histogram.quantile(0.5) or 0.0

    @property
    def p95(self) -> float:
        """Of a hundred requests 95 took no longer."""
        return self.histogram.quantile(0.95) or 0.0

    @property
    def p99(self) -> float:
        """Of a hundred requests 99 took no longer."""
        return self.histogram.quantile(0.99) or 0.0

    @property
    def error_rate(self) -> float:
        """The share that failed: answered 500 or above, or ended with an error; from 0 to 1."""
        return self.errors / self.count if self.count else 0.0

    @property
    def statements_each(self) -> float:
        """Statements a request."""
        return self.statements / self.count if self.count else 0.0


@dataclass(frozen=True, slots=True)
class StoredFinding:
    """One finding as one profile had it: a ``Finding`` without what lives in a process.

    ``id`` is the same for all findings of its kind and subject at its line. ``reason`` is why
    the code allows it, None where it does not.
    """

    id: str
    kind: str
    subject: str
    message: str
    fix: str
    count: int
    duration: float
    filename: str | None
    lineno: int | None
    function: str | None
    callers: tuple[tuple[str, int, int], ...]
    origin: tuple[str, int] | None
    endpoint: str | None
    sql: str | None
    reason: str | None = None
    library: str | None = None

    @property
    def severity(self) -> str:
        """``"error"``, ``"warning"`` or ``"info"``."""
        return "info" if self.library is not None else SEVERITIES[self.kind]


@dataclass(frozen=True, slots=True)
class FindingTotals:
    """What one finding cost in a period, over all requests that had it.

    ``latest`` is how it was last told, ``routes`` where it was seen, ``times`` the requests that
    had it, ``duration`` the seconds that it cost them. ``first_seen`` is as far back as the store
    goes. ``profile_id`` is a stored profile that has it, if one is left. ``asked_since`` counts
    the requests of its routes since it was last seen.
    """

    latest: StoredFinding
    routes: tuple[RouteKey, ...]
    times: float
    duration: float
    first_seen: float
    last_seen: float
    is_estimated: bool
    profile_id: str | None
    asked_since: float

    @property
    def state(self) -> Literal["open", "allowed", "gone"]:
        """``gone`` where its routes were asked twenty times or more without it."""
        if self.latest.reason is not None:
            return "allowed"
        return "gone" if self.asked_since >= _GONE_AFTER else "open"


@dataclass(frozen=True, slots=True)
class Summary:
    """One stored request, job or command in a list. ``findings`` are their kinds."""

    id: str
    route: RouteKey
    endpoint: str
    path: str
    status: int | None
    started_at: float
    duration: float
    sql_duration: float
    statements: int
    findings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StoredStatement:
    """All executions of one statement for one reason at one line of a request.

    ``started`` and ``ended`` are seconds since the request began: of the first execution its
    begin, of the last its end, fetching included. ``duration`` is the time to execute all,
    ``fetch_duration`` the time to fetch their rows; with ``rows`` it is None where that could not
    be seen. ``fingerprint`` is the one of :class:`StatementTotals`; ``finding_ids`` are those of
    the findings that are about it.
    """

    sql: str
    fingerprint: str
    operation: str
    subject: str
    filename: str | None
    lineno: int | None
    function: str | None
    library: str | None
    callers: tuple[tuple[str, int, int], ...]
    count: int
    started: float
    ended: float
    duration: float
    fetch_duration: float | None
    rows: int | None
    slowest: float
    errors: int
    finding_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StoredCall:
    """All calls of one name at one line of a request that are no statements.

    ``kind`` is ``"redis"``, ``"cache"``, ``"blocking"`` or ``"template"``; ``started`` and
    ``ended`` are as those of a statement.
    """

    kind: str
    name: str
    filename: str | None
    lineno: int | None
    function: str | None
    count: int
    started: float
    ended: float
    duration: float


@dataclass(frozen=True, slots=True)
class StoredProfile:
    """One stored request, job or command: statements and calls in the order of their begin.

    No parameter of a statement, no query string, no header and no body is in it.
    """

    summary: Summary
    statements: tuple[StoredStatement, ...]
    calls: tuple[StoredCall, ...]
    findings: tuple[StoredFinding, ...]
    allowed: tuple[StoredFinding, ...]
    memory_delta: int | None


@dataclass(frozen=True, slots=True)
class RouteShare:
    """The part of a statement's totals that one route sent."""

    route: RouteKey
    count: float
    duration: float


@dataclass(frozen=True, slots=True)
class StatementTotals:
    """What one statement cost in a period, wherever it was sent; without its values.

    ``duration`` is the time to execute it, ``slowest`` of one execution. ``routes`` are those
    that sent it, the one that spent most with it first.
    """

    fingerprint: str
    sql: str
    operation: str
    count: float
    duration: float
    slowest: float
    errors: float
    is_estimated: bool
    histogram: Histogram
    routes: tuple[RouteShare, ...]


@dataclass(frozen=True, slots=True)
class CacheTotals:
    """How often one cache was asked by one route (None: outside of requests) in a period."""

    name: str
    route: str | None
    hits: float
    misses: float

    @property
    def hit_rate(self) -> float:
        """The share of hits, from 0 to 1."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else 0.0


@dataclass(frozen=True, slots=True)
class CacheDrops:
    """How often a change of a table had made a value of a cache old when it was asked for."""

    name: str
    table: str
    count: float


@dataclass(frozen=True, slots=True)
class SystemPoint:
    """Figures of all processes that use the store together, in one bucket of time.

    Sums over the processes, each with its mean: ``cpu_percent`` (100 is one core), ``memory_rss``
    in bytes, ``threads``, ``open_files``, connections that the pools have lent (``pool_used``) and
    may have open (``pool_size``). Of the machine: ``load_average`` and percent of memory and disk
    in use; bytes a second of disks and network. None where it is not known: psutil is not
    installed, say.
    """

    at: float
    processes: int
    cpu_percent: float | None
    memory_rss: float | None
    threads: float | None
    open_files: float | None
    pool_used: float | None
    pool_size: float | None
    load_average: float | None
    machine_memory_percent: float | None
    disk_percent: float | None
    disk_read: float | None
    disk_written: float | None
    net_sent: float | None
    net_received: float | None


@dataclass(frozen=True, slots=True)
class RequestFilter:
    """Which stored requests are listed; all conditions hold together, an unset one always.

    ``search`` is a part of the path or of the route's name, ``status`` is one (404) or a class of
    them (4), ``slower_than`` is in seconds.
    """

    search: str = ""
    kind: Kind | None = None
    method: str | None = None
    route: RouteKey | None = None
    status: int | None = None
    slower_than: float = 0.0
    with_findings: bool = False
    finding_id: str | None = None
    order: Literal["latest", "slowest"] = "latest"


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """What a store holds. ``url`` has no password; ``lost`` profiles could not be written here."""

    url: str
    profiles: int
    limit: int
    size: int
    lost: int
