"""Advice on indexes: computed when it is asked for, as it asks each endpoint."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from flask import request

from flask_perfkit.dashboard.views.page import Page
from flask_perfkit.errors import PerfKitError

if TYPE_CHECKING:
    from flask_perfkit.dashboard.asked import Asked
    from flask_perfkit.dashboard.desk import Desk


def indexes(desk: Desk, asked: Asked) -> Page:
    """Show the last advice; a POST has it made anew, while one develops."""
    can_advise = desk.app.debug
    problem = ""
    if request.method == "POST" and can_advise:
        problem = _advise(desk)
    data = {
        "can_advise": can_advise,
        "advice": desk.advice.to_dict() if desk.advice is not None else None,
        "advised_at": desk.advised_at,
        "problem": problem,
    }
    return Page("indexes.html", "Indexes", "/indexes", data, has_range=False)


def _advise(desk: Desk) -> str:
    """Have advice made, by one at a time; return why there is none."""
    if not desk.advising.acquire(timeout=0):
        return "Another window has asked for it already: wait for its answer."
    try:
        desk.advice = desk.tools.advise(desk.app)
        desk.advised_at = datetime.now(UTC)
    except PerfKitError as error:
        return str(error)
    finally:
        desk.advising.release()
    return ""
