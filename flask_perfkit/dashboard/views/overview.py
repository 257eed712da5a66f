"""The overview: where the time goes, by route and by finding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask_perfkit.dashboard.asked import PAGE_SIZE
from flask_perfkit.dashboard.views.page import Page
from flask_perfkit.dashboard.views.points import summed, trimmed
from flask_perfkit.store.histogram import Histogram
from flask_perfkit.store.reading import Point, RouteKey

if TYPE_CHECKING:
    from flask_perfkit.dashboard.asked import Asked
    from flask_perfkit.dashboard.desk import Desk
    from flask_perfkit.store.reading import Kind, Route

_MOST_ROUTES = 1_000
_FINDINGS = 6
_KINDS: dict[str, Kind] = {"request": "request", "job": "job", "command": "command"}
_SYMPTOMS = ("slow_request", "slow_query")
"""What tells that something is slow comes after what tells why."""

_ORDERS = {
    "p95": lambda row: -row.p95,
    "count": lambda row: -row.count,
    "statements": lambda row: -row.statements_each,
    "errors": lambda row: -row.error_rate,
}


@dataclass(frozen=True)
class RouteRow:
    """One route, job or command; ``share`` is its part of all time that was spent."""

    key: RouteKey
    endpoint: str
    count: float
    duration: float
    share: float
    p50: float
    p95: float
    p99: float
    statements_each: float
    error_rate: float
    is_estimated: bool
    findings: dict[str, float]
    points: Sequence[Point]


@dataclass(frozen=True)
class Totals:
    """All routes together."""

    count: float
    errors: float
    duration: float
    sql_duration: float
    statements: float
    p50: float
    p95: float
    p99: float
    is_estimated: bool


def overview(desk: Desk, asked: Asked) -> Page:
    """Show routes by the time spent with them, and findings by what they cost."""
    kind = _KINDS.get(asked.get("kind"))
    found = desk.store.routes(asked.period, search=asked.search, kind=kind, limit=_MOST_ROUTES)
    routes = found.items
    spent = sum(route.duration for route in routes)
    rows = [_row(route, spent) for route in routes]
    order = _ORDERS.get(asked.get("sort"))
    if order is not None:
        rows.sort(key=order)
    findings = desk.store.findings(asked.period, limit=_MOST_ROUTES).items
    costly = [each for each in findings if each.state == "open"]
    costly.sort(key=lambda each: each.latest.kind in _SYMPTOMS)
    data = {
        "totals": _totals(routes),
        "routes": rows[asked.offset : asked.offset + PAGE_SIZE],
        "more": len(rows) > asked.offset + PAGE_SIZE,
        "findings": costly[:_FINDINGS],
        "open_findings": len(costly),
        "points": trimmed(summed([route.points for route in routes])),
        "step": max((route.step for route in routes), default=60),
    }
    return Page("overview.html", "Overview", "", data)


def _row(route: Route, spent: float) -> RouteRow:
    p50, p95, p99 = route.histogram.quantiles((0.5, 0.95, 0.99)) or (0.0, 0.0, 0.0)
    return RouteRow(
        key=route.key,
        endpoint=route.endpoint,
        count=route.count,
        duration=route.duration,
        share=route.duration / spent if spent else 0.0,
        p50=p50,
        p95=p95,
        p99=p99,
        statements_each=route.statements_each,
        error_rate=route.error_rate,
        is_estimated=route.is_estimated,
        findings=route.findings,
        points=route.points,
    )


def _totals(routes: Sequence[Route]) -> Totals:
    histogram = Histogram()
    for route in routes:
        histogram.merge(route.histogram)
    p50, p95, p99 = histogram.quantiles((0.5, 0.95, 0.99)) or (0.0, 0.0, 0.0)
    return Totals(
        count=sum(route.count for route in routes),
        errors=sum(route.errors for route in routes),
        duration=sum(route.duration for route in routes),
        sql_duration=sum(route.sql_duration for route in routes),
        statements=sum(route.statements for route in routes),
        p50=p50,
        p95=p95,
        p99=p99,
        is_estimated=any(route.is_estimated for route in routes),
    )
