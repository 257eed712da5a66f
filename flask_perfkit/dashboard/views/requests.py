"""The list of stored requests, searched and filtered."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast, get_args

from flask_perfkit.dashboard.asked import PAGE_SIZE
from flask_perfkit.dashboard.views.page import Page
from flask_perfkit.store.reading import Kind, RequestFilter

if TYPE_CHECKING:
    from flask_perfkit.dashboard.asked import Asked
    from flask_perfkit.dashboard.desk import Desk

_MOST_STATUS = 999


def requests(desk: Desk, asked: Asked) -> Page:
    """Show requests, jobs and commands: the latest first, or the slowest."""
    only = _filter(asked)
    found = desk.store.requests(asked.period, only, limit=PAGE_SIZE, offset=asked.offset)
    data = {
        "filter": only,
        "requests": found.items,
        "total": found.total,
        "more": found.total > asked.offset + PAGE_SIZE,
        "slowest": max((each.duration for each in found.items), default=0.0),
    }
    return Page("requests.html", "Requests", "/requests", data)


def _filter(asked: Asked) -> RequestFilter:
    kind, status = asked.get("kind"), asked.get("status")
    return RequestFilter(
        search=asked.search,
        kind=cast("Kind", kind) if kind in get_args(Kind) else None,
        method=asked.get("method").upper() or None,
        status=int(status) if status.isdecimal() and int(status[:4]) <= _MOST_STATUS else None,
        slower_than=_milliseconds(asked.get("slower")),
        with_findings=asked.get("found") == "1",
        order="slowest" if asked.get("sort") == "slowest" else "latest",
    )


def _milliseconds(text: str) -> float:
    return int(text) / 1000 if text.isdecimal() and len(text) < 9 else 0.0
