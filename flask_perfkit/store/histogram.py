"""Durations counted in buckets that grow by a constant factor: mergeable, with a known error.

The layout is that of DDSketch (Masson, Rim, Lee: "DDSketch: a fast and fully-mergeable quantile
sketch with relative-error guarantees", VLDB 2019, https://arxiv.org/abs/1908.10693): bucket ``i``
holds what lies in ``(g ** (i - 1), g ** i]`` with ``g = (1 + a) / (1 - a)``, and is read as the
value that is wrong by the share ``a`` at most.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, inf, log

RELATIVE_ERROR = 0.02
"""The most that a quantile can be wrong by, as a share of it."""

SHORTEST = 1e-6
"""Seconds that are not told apart from less."""

_GROWTH = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_LOG_GROWTH = log(_GROWTH)


@dataclass(frozen=True, slots=True)
class Bar:
    """A bucket as it is drawn: bounds in seconds, and how many durations lie between."""

    low: float
    high: float
    count: float


def bucket_of(seconds: float) -> int:
    """Return the number of the bucket that a duration is counted in."""
    return ceil(log(max(seconds, SHORTEST) / SHORTEST) / _LOG_GROWTH)


@lru_cache(maxsize=2_000)
def value_of(bucket: int) -> float:
    """Return the seconds that a bucket is read as."""
    return SHORTEST * 2 * _GROWTH**bucket / (_GROWTH + 1) if bucket else SHORTEST


class Histogram(dict[int, float]):
    """Counts by the number of their bucket; those of several processes and minutes add up."""

    def add(self, seconds: float, count: float = 1) -> None:
        """Count a duration."""
        bucket = bucket_of(seconds)
        self[bucket] = self.get(bucket, 0) + count

    def merge(self, other: Mapping[int, float]) -> None:
        """Add the counts of another."""
        for bucket, count in other.items():
            self[bucket] = self.get(bucket, 0) + count

    @property
    def count(self) -> float:
        """How many durations were counted."""
        return sum(self.values())

    def quantile(self, share: float) -> float | None:
        """Return the duration that a share of all do not exceed; None where there are none.

        :param share: from 0 to 1, such as 0.95.
        """
        found = self.quantiles([share])
        return found[0] if found else None

    def quantiles(self, shares: Iterable[float]) -> list[float]:
        """Return the durations of several shares in ascending order; empty where there are none."""
        ranks = iter([share * (self.count - 1) for share in shares])
        rank = next(ranks, inf)
        found: list[float] = []
        passed = 0.0
        for bucket, count in sorted(self.items()):
            passed += count
            while passed > rank:
                found.append(value_of(bucket))
                rank = next(ranks, inf)
        return found

    def bars(self, most: int = 40) -> list[Bar]:
        """Return neighbouring buckets put together, as few as may be drawn, empty ones between."""
        if not self:
            return []
        first, last = min(self), max(self)
        width = ceil((last - first + 1) / most)
        counts: dict[int, float] = {}
        for bucket, count in self.items():
            place = (bucket - first) // width
            counts[place] = counts.get(place, 0) + count
        return list(_bars(counts, first, width, (last - first) // width + 1))


def _bars(counts: Mapping[int, float], first: int, width: int, number: int) -> Iterator[Bar]:
    for place in range(number):
        begin = first + place * width
        low = 0.0 if begin <= 0 else _upper(begin - 1)
        yield Bar(low, _upper(begin + width - 1), counts.get(place, 0))


def _upper(bucket: int) -> float:
    return SHORTEST * _GROWTH**bucket
