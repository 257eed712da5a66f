"""What the cells of each kind of row mean."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from math import inf, isfinite

from flask_perfkit.metrics.store.labels import OTHER
from flask_perfkit.recording import findings

REQUEST, PLAIN = "request", "plain"
"""Rows by method, route and status: of requests that asked a database, and of those that did not.
"""
ROUTE, CACHE = "route", "cache"
"""Rows by route, and by cache."""
TIMED, TRACKED = "timed", "tracked"
"""Rows by the name of a block: whose time was taken, and whose memory was tracked."""
WAIT, PROCESS, ENDED = "wait", "process", "ended"
"""Single rows: of waiting for a connection, of this process, of the processes that have ended."""

LABELS = {
    REQUEST: 3,
    PLAIN: 3,
    ROUTE: 1,
    CACHE: 1,
    TIMED: 1,
    TRACKED: 1,
    WAIT: 0,
    PROCESS: 0,
    ENDED: 0,
}
"""How many labels each kind of row has."""

_REQUEST_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_STATEMENT_SECONDS = (
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
)
_STATEMENTS = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)
_WAIT_SECONDS = (0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0)
_NANOSECONDS = 1e9

_NEVER_IN_A_REQUEST = ("missing_index", "redundant_index", "unused_index")
KINDS = (*(kind for kind in findings.KINDS if kind not in _NEVER_IN_A_REQUEST), OTHER)
"""Kinds of finding that a request can have; those of an application's own are counted as one."""

# What follows the buckets of a request's row, counted back from its end.
DURATION, SENT, RECEIVED, EXEMPLAR = -1, -2, -3, -11
# The cells of a process's row, and of the row of those that have ended.
STARTED, LEFT_OUT, PID, NAMESPACE, CPU_SEEN, CPU_AT_END = range(6)
POOL_TAKEN, POOL_RETURNED, POOL_OPEN, POOL_SIZE, POOL_MOST = range(6, 11)
CPU_ENDED = 0
# The cells of a cache's row.
ASKED, HITS = 0, 1
# The cells of a block's row.
RUNS, TOTAL = 0, 1


def _places(first: int, bounds: Sequence[float], unit: float) -> Callable[[int], int]:
    """Return what finds a value's bucket, where the first one is at a place, by one call into C.

    :param unit: what a bound is multiplied with to be compared.
    """
    return partial(bisect_left, [-inf] * first + [bound * unit for bound in bounds])


@dataclass(frozen=True)
class Layout:
    """The bounds of all histograms, in seconds and statements, and the kinds of finding."""

    request: tuple[float, ...] = _REQUEST_SECONDS
    statement: tuple[float, ...] = _STATEMENT_SECONDS
    statements: tuple[float, ...] = _STATEMENTS
    wait: tuple[float, ...] = _WAIT_SECONDS
    kinds: tuple[str, ...] = KINDS

    @cached_property
    def place_of_request(self) -> Callable[[int], int]:
        """Tell where in its row a request is counted that took so many nanoseconds."""
        return _places(0, self.request, _NANOSECONDS)

    @cached_property
    def place_of_statements(self) -> Callable[[int], int]:
        """Tell where in a route's row a request with so many statements is counted."""
        return _places(1, self.statements, 1)

    @cached_property
    def place_of_statement(self) -> Callable[[int], int]:
        """Tell where in a route's row a statement is counted that took so many nanoseconds."""
        return _places(self.first_statement, self.statement, _NANOSECONDS)

    @cached_property
    def place_of_wait(self) -> Callable[[int], int]:
        """Tell where a wait of so many nanoseconds for a connection is counted."""
        return _places(1, self.wait, _NANOSECONDS)

    @cached_property
    def first_statement(self) -> int:
        """Where in a route's row the buckets of its statements' durations begin.

        Before them are their sum, and the requests by their number of statements.
        """
        return 1 + len(self.statements) + 1

    @cached_property
    def first_kind(self) -> int:
        """Where in a route's row its findings begin; failed statements are counted before."""
        return self.first_statement + len(self.statement) + 1 + 1

    def width(self, kind: str) -> int:
        """Return how many cells a row of a kind has."""
        return {
            REQUEST: len(self.request) + 1 - EXEMPLAR,
            PLAIN: len(self.request) + 1 - EXEMPLAR,
            ROUTE: self.first_kind + len(self.kinds),
            WAIT: 1 + len(self.wait) + 1,
            CACHE: 2,
            TIMED: 2,
            TRACKED: 2,
            PROCESS: 11,
            ENDED: 1,
        }[kind]

    def to_json(self) -> str:
        """Return it as text, for the head of a file."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Layout:
        """Read what :meth:`to_json` wrote.

        :raises ValueError: it is no such text.
        """
        try:
            layout = cls(**{name: tuple(value) for name, value in json.loads(text).items()})
            bounds = (*layout.request, *layout.statement, *layout.statements, *layout.wait)
            if all(map(isfinite, bounds)) and all(isinstance(each, str) for each in layout.kinds):
                return layout
        except (TypeError, AttributeError) as error:
            raise ValueError(f"no layout: {text:.100}") from error
        raise ValueError(f"no layout: {text:.100}")

    def adopt(self, kind: str, cells: Sequence[float], other: Layout) -> list[float]:
        """Return cells that were counted by another layout as they would be by this one.

        What lies in a bucket that is not known here is counted in the next larger one.
        """
        if len(cells) != other.width(kind) or not all(map(isfinite, cells)):
            raise ValueError(f"no cells of a row of kind {kind!r}")
        if other == self or kind not in (REQUEST, PLAIN, ROUTE, WAIT):
            return list(cells)
        adopted = [0.0] * self.width(kind)
        places = dict(zip(other._names(kind), cells, strict=True))
        ours = {name: place for place, name in enumerate(self._names(kind))}
        for (name, bound), value in places.items():
            if isinstance(bound, float):
                bounds: Sequence[float] = getattr(self, name)
                place = bisect_left(bounds, bound)
                bound = bounds[place] if place < len(bounds) else inf
            if (name, bound) in ours:
                adopted[ours[name, bound]] += value
        return adopted

    def _names(self, kind: str) -> Iterator[tuple[str, float | str]]:
        """Name the cells of a row: the histogram and its bucket's bound, or what else it is."""
        if kind in (REQUEST, PLAIN):
            yield from self._buckets("request")
            yield from (("after", str(place)) for place in range(EXEMPLAR, 0))
        elif kind == WAIT:
            yield "wait", "sum"
            yield from self._buckets("wait")
        else:
            yield "statement", "sum"
            yield from self._buckets("statements")
            yield from self._buckets("statement")
            yield "statement", "failed"
            yield from (("kind", kind) for kind in self.kinds)

    def _buckets(self, name: str) -> Iterator[tuple[str, float]]:
        yield from ((name, bound) for bound in (*getattr(self, name), inf))
