"""One route, job or command: its latency, what was found in it, its slowest requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast, get_args

from flask_perfkit.dashboard.views.page import Page, missing
from flask_perfkit.dashboard.views.points import trimmed
from flask_perfkit.dashboard.views.statements import row_of
from flask_perfkit.store.reading import Kind, RequestFilter, RouteKey

if TYPE_CHECKING:
    from flask_perfkit.dashboard.asked import Asked
    from flask_perfkit.dashboard.desk import Desk

_SLOWEST = 15
_STATEMENTS = 8


def route(desk: Desk, asked: Asked) -> Page:
    """Show one route, whose key is in the query."""
    kind = asked.get("kind", "request")
    if kind not in get_args(Kind):
        kind = "request"
    key = RouteKey(cast("Kind", kind), asked.get("method", "GET"), asked.get("name"))
    store, period = desk.store, asked.period
    found = store.route(key, period)
    if found is None:
        return missing(
            "",
            f"Nothing is known of {key.method} {key.name}",
            "It had no request in this time range: choose a longer one.",
        )
    p50, p95, p99 = found.histogram.quantiles((0.5, 0.95, 0.99)) or (0.0, 0.0, 0.0)
    sent = store.statements(period, route=key, limit=_STATEMENTS)
    slowest = RequestFilter(route=key, order="slowest")
    data = {
        "key": key,
        "endpoint": found.endpoint,
        "count": found.count,
        "error_rate": found.error_rate,
        "duration": found.duration,
        "sql_duration": found.sql_duration,
        "statements_each": found.statements_each,
        "slowest": found.slowest,
        "p50": p50,
        "p95": p95,
        "p99": p99,
        "is_estimated": found.is_estimated,
        "step": found.step,
        "points": trimmed(found.points),
        "bars": found.histogram.bars(),
        "findings": store.findings(period, route=key).items,
        "requests": store.requests(period, slowest, limit=_SLOWEST).items,
        "statements": [row_of(each) for each in sent.items],
    }
    return Page("route.html", f"{key.method} {key.name}", "", data)
