"""The geometry of charts, which templates draw as SVG: without script and style.

A plot is 1000 wide and 100 high whatever its size on the screen; the lines keep their width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from math import ceil, floor, log10
from typing import NamedTuple

WIDTH, HEIGHT = 1000.0, 100.0

Values = Sequence[float | None]
"""One value for each step of time; None where nothing happened."""


class Curve(NamedTuple):
    """A line of a chart, as the ``d`` of a path."""

    name: str
    line: str


class Box(NamedTuple):
    """A rectangle, with what it says when it is pointed at."""

    x: float
    y: float
    width: float
    height: float
    title: str


def curve(values: Values, top: float, name: str) -> Curve:
    """Return a line through values, broken where there are none.

    :param top: the value at the upper edge.
    """
    lines = []
    for points in _runs(values, top):
        line = "L".join(f"{_short(x)} {_short(y)}" for x, y in points)
        # A point by itself is a line of no length, which its round caps make a dot.
        lines.append(f"M{line}" + ("h.01" if len(points) == 1 else ""))
    return Curve(name, "".join(lines))


def columns(values: Values, top: float, titles: Sequence[str], gap: float = 0.15) -> list[Box]:
    """Return a column for each value that there is.

    :param gap: the share of its place that a column leaves free.
    """
    step = WIDTH / max(len(values), 1)
    return [
        Box(
            x=step * (place + gap / 2),
            y=HEIGHT * (1 - min(value / top, 1)),
            width=step * (1 - gap),
            height=HEIGHT * min(value / top, 1),
            title=title,
        )
        for place, (value, title) in enumerate(zip(values, titles, strict=True))
        if value
    ]


def bands(titles: Sequence[str]) -> list[Box]:
    """Return a rectangle of full height for each step, to be pointed at."""
    step = WIDTH / max(len(titles), 1)
    return [Box(step * place, 0, step, HEIGHT, title) for place, title in enumerate(titles)]


def nice_top(value: float) -> float:
    """Return the next round number from a value on, as the upper end of an axis.

    It can be halved and quartered to numbers that read well.
    """
    if value <= 0:
        return 1.0
    size: float = 10.0 ** floor(log10(value))
    return next(size * step for step in (1, 2, 4, 5, 8, 10) if value <= size * step * (1 + 1e-9))


def thinned(labels: Sequence[str], most: int = 6) -> list[str]:
    """Return some labels at even distances, the first and the last among them."""
    if len(labels) <= most:
        return list(labels)
    step = (len(labels) - 1) / (most - 1)
    return [labels[min(ceil(step * place - 1e-9), len(labels) - 1)] for place in range(most)]


def _runs(values: Values, top: float) -> Iterator[list[tuple[float, float]]]:
    """Yield the points of values that follow each other without a gap."""
    last = max(len(values) - 1, 1)
    points = [
        None
        if value is None
        else (WIDTH * place / last if len(values) > 1 else WIDTH / 2, HEIGHT * (1 - value / top))
        for place, value in enumerate(values)
    ]
    for is_there, run in groupby(points, key=lambda point: point is not None):
        if is_there:
            yield [point for point in run if point is not None]


def _short(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")
