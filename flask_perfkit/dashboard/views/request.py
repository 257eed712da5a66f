"""One stored request: its waterfall, and what was found in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_perfkit.dashboard.views.page import Page, missing
from flask_perfkit.dashboard.waterfall import parts_of, steps_of

if TYPE_CHECKING:
    from flask_perfkit.dashboard.asked import Asked
    from flask_perfkit.dashboard.desk import Desk


def request(desk: Desk, asked: Asked, profile_id: str) -> Page:
    """Show what one request did, in the order in which it did it."""
    profile = desk.store.profile(profile_id)
    if profile is None:
        return missing(
            "/requests",
            "This request is not stored",
            "Of quick requests without findings only some are kept, and old ones make room for new "
            "ones: PERFKIT_STORAGE_LIMIT says how many there may be.",
        )
    summary, steps = profile.summary, steps_of(profile)
    data = {
        "summary": summary,
        "parts_of_time": parts_of(profile, steps),
        "steps": steps,
        "findings": profile.findings,
        "allowed": profile.allowed,
        "memory_delta": profile.memory_delta,
    }
    method = summary.route.method
    title = f"{method} {summary.path}" if summary.route.kind == "request" else summary.route.name
    return Page("request.html", title, "/requests", data, has_range=False)
