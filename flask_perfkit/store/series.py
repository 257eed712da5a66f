"""The totals of one sort over a period, bucket by bucket, and what pages make of them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from flask_perfkit.store.buckets import Bucket
from flask_perfkit.store.histogram import Histogram
from flask_perfkit.store.looks import GROWING, MEANS
from flask_perfkit.store.reading import (
    CacheDrops,
    CacheTotals,
    Point,
    Route,
    RouteKey,
    RouteShare,
    StatementTotals,
    SystemPoint,
)
from flask_perfkit.store.totals import Entry, Key, decoded

_SHARES = (0.5, 0.95, 0.99)


@lru_cache(maxsize=256)
def part_of(body: bytes) -> Mapping[Key, Entry]:
    """Return the totals of one bucket, to be read only.

    Those of the past do not change: a page that is looked at again reads only what is new.
    """
    return dict(decoded(body))


class Series:
    """Totals of one sort in the buckets of a period, in order."""

    def __init__(self, buckets: Sequence[Bucket], parts: Sequence[Mapping[Key, Entry]]) -> None:
        self.buckets = buckets
        self.parts = parts

    @property
    def step(self) -> int:
        """Seconds that a bucket is wide."""
        return self.buckets[0].step.width if self.buckets else 60

    def merged(self, by: Callable[[Key], Key | None] = tuple) -> dict[Key, Entry]:
        """Return what the buckets add up to, by what is made of the keys; None is left out."""
        found: dict[Key, Entry] = {}
        for part in self.parts:
            for key, entry in part.items():
                name = by(key)
                if name is None:
                    continue
                known = found.get(name)
                if known is None:
                    found[name] = Entry(entry.numbers, Histogram(entry.histogram))
                else:
                    known.add(entry.numbers)
                    known.histogram.merge(entry.histogram)
        return found

    def points(self, key: Key) -> list[Point]:
        """Return what happened under a key in each bucket."""
        return [
            _point(bucket, part.get(key))
            for bucket, part in zip(self.buckets, self.parts, strict=True)
        ]


def _point(bucket: Bucket, entry: Entry | None) -> Point:
    if entry is None or not entry.histogram:
        return Point(bucket.start, 0, 0, None, None, None)
    count, _, errors, *_ = entry.numbers
    p50, p95, p99 = entry.histogram.quantiles(_SHARES)
    return Point(bucket.start, count or 0, errors or 0, p50, p95, p99)


def route_of_totals(key: Key, entry: Entry, series: Series, findings: Mapping[str, float]) -> Route:
    """Return a route of its totals."""
    *route, endpoint = key
    count, watched, errors, duration, statements, sql_duration = map(_known, entry.numbers)
    return Route(
        key=RouteKey(*route),
        endpoint=endpoint,
        count=count,
        errors=errors,
        duration=duration,
        slowest=entry.histogram.quantile(1.0) or 0.0,
        statements=statements,
        sql_duration=sql_duration,
        is_estimated=_is_estimated(count, watched),
        histogram=entry.histogram,
        step=series.step,
        points=series.points(key),
        findings=dict(findings),
    )


def statements_of(series: Series, only: RouteKey | None) -> dict[str, StatementTotals]:
    """Return statements by fingerprint, of one route or of all; their SQL is to be set."""
    by_route = series.merged(lambda key: key if only in (None, key[1:]) else None)
    shares: defaultdict[str, list[RouteShare]] = defaultdict(list)
    totals: dict[str, Entry] = {}
    for (fingerprint, *route), entry in by_route.items():
        count, _, _, seconds = map(_known, entry.numbers)
        shares[fingerprint].append(RouteShare(RouteKey(*route), count, seconds))
        known = totals.setdefault(fingerprint, Entry([0.0] * len(entry.numbers)))
        known.add(entry.numbers)
        known.histogram.merge(entry.histogram)
    return {
        fingerprint: _statement(fingerprint, entry, shares[fingerprint])
        for fingerprint, entry in totals.items()
    }


def _statement(fingerprint: str, entry: Entry, shares: list[RouteShare]) -> StatementTotals:
    count, watched, errors, seconds = map(_known, entry.numbers)
    return StatementTotals(
        fingerprint=fingerprint,
        sql="",
        operation="",
        count=count,
        duration=seconds,
        slowest=entry.histogram.quantile(1.0) or 0.0,
        errors=errors,
        is_estimated=_is_estimated(count, watched),
        histogram=entry.histogram,
        routes=tuple(sorted(shares, key=lambda share: -share.duration)),
    )


def caches_of(series: Series) -> list[CacheTotals]:
    """Return the caches, the most requested first."""
    found = [
        CacheTotals(name, rule, *map(_known, entry.numbers))
        for (name, rule), entry in series.merged().items()
    ]
    return sorted(found, key=lambda each: -(each.hits + each.misses))


def drops_of(series: Series) -> list[CacheDrops]:
    """Return what dropped values of caches, the most frequent first."""
    found = [
        CacheDrops(name, table, *map(_known, entry.numbers))
        for (name, table), entry in series.merged().items()
    ]
    return sorted(found, key=lambda each: -each.count)


def system_of(series: Series) -> list[SystemPoint]:
    """Return the figures of the processes in each bucket in which one was looked at."""
    return [
        _look(bucket, list(part.values()))
        for bucket, part in zip(series.buckets, series.parts, strict=True)
        if part
    ]


def _look(bucket: Bucket, entries: Sequence[Entry]) -> SystemPoint:
    means: defaultdict[str, list[float]] = defaultdict(list)
    for entry in entries:
        looks, seconds, *numbers = entry.numbers
        for name, number in zip((*MEANS, *GROWING), numbers, strict=True):
            of = seconds if name in GROWING else looks
            if number is not None and of:
                means[name].append(number / of)
    machine = {name: _mean(means[name]) for name in (*MEANS[6:], *GROWING)}
    return SystemPoint(
        at=bucket.start,
        processes=len(entries),
        cpu_percent=_sum(means["cpu_percent"]),
        memory_rss=_sum(means["memory_rss"]),
        threads=_sum(means["threads"]),
        open_files=_sum(means["open_files"]),
        pool_used=_sum(means["pool_used"]),
        pool_size=_sum(means["pool_size"]),
        load_average=machine["load_average"],
        machine_memory_percent=machine["machine_memory_percent"],
        disk_percent=machine["disk_percent"],
        disk_read=machine["disk_read_bytes"],
        disk_written=machine["disk_write_bytes"],
        net_sent=machine["net_sent_bytes"],
        net_received=machine["net_recv_bytes"],
    )


def _sum(numbers: Iterable[float]) -> float | None:
    found = list(numbers)
    return sum(found) if found else None


def _mean(numbers: Sequence[float]) -> float | None:
    return sum(numbers) / len(numbers) if numbers else None


def _known(number: Any) -> float:
    return number or 0.0


def _is_estimated(count: float, watched: float) -> bool:
    return abs(count - watched) > 0.5
