"""The charts of the pages: each a plot with its axes, made of what a store says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import log
from typing import TYPE_CHECKING

from flask_perfkit.dashboard.charts import (
    WIDTH,
    Box,
    Curve,
    bands,
    columns,
    curve,
    nice_top,
    thinned,
)
from flask_perfkit.dashboard.views.points import bars as merged
from flask_perfkit.recording.wording import counted

if TYPE_CHECKING:
    from flask_perfkit.store.histogram import Bar
    from flask_perfkit.store.reading import Point, SystemPoint

_DAY = 86_400


@dataclass(frozen=True)
class Plot:
    """What a template draws: columns behind curves, marks, and bands that say what lies there.

    ``ys`` are the labels from top to bottom, ``xs`` from left to right.
    """

    ys: Sequence[str]
    xs: Sequence[str]
    curves: Sequence[Curve] = ()
    columns: Sequence[Box] = ()
    errors: Sequence[Box] = ()
    bands: Sequence[Box] = ()
    marks: Sequence[Box] = ()


def traffic(points: Sequence[Point]) -> Plot:
    """Return how many requests came, and of them those that failed."""
    top = nice_top(max((point.count for point in points), default=0))
    counts, errors = [point.count for point in points], [point.errors for point in points]
    titles = [
        f"{when} · {counted(point.count, 'request')}"
        + (f" · {point.errors:,.0f} failed" if point.errors else "")
        for when, point in zip(_times(points), points, strict=True)
    ]
    return Plot(
        ys=_labels(top, lambda value: f"{value:,.4g}"),
        xs=thinned(_times(points)),
        columns=columns(counts, top, titles),
        errors=columns(errors, top, titles),
        bands=bands(titles),
    )


def latency(points: Sequence[Point], words: Callable[[float], str]) -> Plot:
    """Return the quantiles of a route over time."""
    top = nice_top(max((point.p99 or 0 for point in points), default=0))
    titles = []
    for when, point in zip(_times(points), points, strict=True):
        known = ((name, getattr(point, name)) for name in ("p50", "p95", "p99"))
        told = [f"{name} {words(value)}" for name, value in known if value is not None]
        titles.append(" · ".join([when, f"{point.count:,.0f} in all", *told]))
    return Plot(
        ys=_labels(top, words),
        xs=thinned(_times(points)),
        curves=[
            curve([point.p99 for point in points], top, "p99"),
            curve([point.p95 for point in points], top, "p95"),
            curve([point.p50 for point in points], top, "p50"),
        ],
        bands=bands(titles),
    )


def histogram(
    bars: Sequence[Bar], quantiles: Sequence[float], words: Callable[[float], str]
) -> Plot:
    """Return how many took how long; time grows by a constant factor from left to right."""
    top = nice_top(max((bar.count for bar in bars), default=0))
    titles = [
        f"{words(bar.low)} to {words(bar.high)}: {bar.count:,.0f}" if bar.count else ""
        for bar in bars
    ]
    return Plot(
        ys=_labels(top, lambda value: f"{value:,.4g}"),
        xs=thinned([words(bar.high) for bar in bars], most=5),
        columns=columns([bar.count for bar in bars], top, titles, gap=0.06),
        bands=bands(titles),
        marks=[Box(x, 0, 0, 0, "") for x in (_place(bars, each) for each in quantiles)],
    )


def series(points: Sequence[SystemPoint], name: str, words: Callable[[float], str]) -> Plot:
    """Return one figure of the processes over time."""
    values: list[float | None] = [getattr(point, name) for point in points]
    top = nice_top(max((value or 0 for value in values), default=0))
    times = _times(points)
    titles = [
        f"{when} · {words(value)}" if value is not None else when
        for when, value in zip(times, values, strict=True)
    ]
    return Plot(
        ys=_labels(top, words),
        xs=thinned(times, most=4),
        curves=[curve(values, top, "p95")],
        bands=bands(titles),
    )


def spark(points: Sequence[Point]) -> list[Box]:
    """Return the columns of a row of a table: how slow a route was over time."""
    values = merged(points)
    return columns(values, max(values, default=0) or 1, [""] * len(values), gap=0.2)


def _labels(top: float, words: Callable[[float], str]) -> list[str]:
    return [words(top), words(top / 2), "0"]


def _times(points: Sequence[Point] | Sequence[SystemPoint]) -> list[str]:
    """Return when each point was, with the day where there are several."""
    moments = [datetime.fromtimestamp(point.at, UTC).astimezone() for point in points]
    is_long = bool(points) and points[-1].at - points[0].at > _DAY
    form = "%b %d %H:%M" if is_long else "%H:%M"
    return [each.strftime(form) for each in moments]


def _place(bars: Sequence[Bar], seconds: float) -> float:
    """Return where a duration lies among the bars."""
    for place, bar in enumerate(bars):
        if seconds <= bar.high:
            low = max(bar.low, bar.high / 1e3, 1e-9)
            part = log(max(seconds, low) / low) / log(bar.high / low) if bar.high > low else 0.5
            return WIDTH * (place + part) / len(bars)
    return WIDTH
