"""Series of buckets of time: put together, cut to where something happened, made fewer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest
from math import ceil

from flask_perfkit.store.reading import Point

_MOST_BARS = 40
_FEWEST_POINTS = 15


def summed(series: Iterable[Sequence[Point]]) -> list[Point]:
    """Return counts of several routes together; their quantiles cannot be added up."""
    return [
        Point(
            at=next(point.at for point in points if point is not None),
            count=sum(point.count for point in points if point is not None),
            errors=sum(point.errors for point in points if point is not None),
            p50=None,
            p95=None,
            p99=None,
        )
        for points in zip_longest(*series)
    ]


def trimmed(points: Sequence[Point]) -> Sequence[Point]:
    """Return points from the first one on at which something happened."""
    first = next((place for place, point in enumerate(points) if point.count), len(points))
    return points[max(min(first - 1, len(points) - _FEWEST_POINTS), 0) :]


def bars(points: Sequence[Point]) -> list[float]:
    """Return the highest p95 of each few points, as few as fit in a row of a table."""
    width = max(ceil(len(points) / _MOST_BARS), 1)
    groups = (points[place : place + width] for place in range(0, len(points), width))
    return [max((point.p95 or 0.0 for point in group), default=0.0) for group in groups]
