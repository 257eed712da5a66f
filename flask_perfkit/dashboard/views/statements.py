"""Statements by the time spent with them, and one of them with its plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import request

from flask_perfkit.dashboard.asked import PAGE_SIZE
from flask_perfkit.dashboard.plans import NoPlan, plan_of
from flask_perfkit.dashboard.views.page import Page, missing

if TYPE_CHECKING:
    from flask_perfkit.dashboard.asked import Asked
    from flask_perfkit.dashboard.desk import Desk
    from flask_perfkit.store.reading import StatementTotals


def statements(desk: Desk, asked: Asked) -> Page:
    """Show statements, the one that most time was spent with first."""
    found = desk.store.statements(
        asked.period, search=asked.search, limit=PAGE_SIZE, offset=asked.offset
    )
    data = {
        "statements": [row_of(each) for each in found.items],
        "total": found.total,
        "more": found.total > asked.offset + PAGE_SIZE,
        "longest": max((each.duration for each in found.items), default=0.0),
    }
    return Page("statements.html", "Statements", "/statements", data)


def statement(desk: Desk, asked: Asked, fingerprint: str) -> Page:
    """Show one statement; a POST asks the database for its plan."""
    found = desk.store.statement(fingerprint, asked.period)
    if found is None:
        return missing(
            "/statements",
            "This statement was not sent",
            "Nothing is known of it in this time range: choose a longer one.",
        )
    data = {
        **row_of(found),
        "errors": found.errors,
        "bars": found.histogram.bars(),
        "plan": None,
        "no_plan": "",
        "is_select": found.operation == "SELECT",
    }
    if request.method == "POST":
        data |= _plan(desk, found)
    return Page("statement.html", f"{found.operation} statement", "/statements", data)


def row_of(one: StatementTotals) -> dict[str, Any]:
    """Return what a table says of one statement."""
    p50, p95, p99 = one.histogram.quantiles((0.5, 0.95, 0.99)) or (0.0, 0.0, 0.0)
    return {
        "fingerprint": one.fingerprint,
        "sql": one.sql,
        "operation": one.operation,
        "count": one.count,
        "duration": one.duration,
        "slowest": one.slowest,
        "p50": p50,
        "p95": p95,
        "p99": p99,
        "is_estimated": one.is_estimated,
        "routes": one.routes,
    }


def _plan(desk: Desk, found: StatementTotals) -> dict[str, Any]:
    issued = desk.statements.get(found.sql)
    if found.operation != "SELECT":
        return {"no_plan": "Only a SELECT is planned: what writes is left alone."}
    if issued is None:
        return {"no_plan": "This process has not sent it: open the page that sends it."}
    try:
        return {"plan": plan_of(issued, desk.engines)}
    except NoPlan as reason:
        return {"no_plan": str(reason)}
