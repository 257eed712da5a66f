"""What was found: all of it, and one finding with its fix tried."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import request

from flask_perfkit.dashboard.asked import PAGE_SIZE
from flask_perfkit.dashboard.fixes import is_code
from flask_perfkit.dashboard.views.page import Page, missing
from flask_perfkit.errors import PerfKitError
from flask_perfkit.store.reading import RequestFilter

if TYPE_CHECKING:
    from flask_perfkit.dashboard.asked import Asked
    from flask_perfkit.dashboard.desk import Desk
    from flask_perfkit.recording.findings import Finding

_MOST = 1_000
_STATES = ("open", "allowed", "gone")
_REQUESTS = 10


def findings(desk: Desk, asked: Asked) -> Page:
    """Show findings by what they cost: the open ones unless others are asked for."""
    found = desk.store.findings(asked.period, search=asked.search, limit=_MOST).items
    severity, kind = asked.get("severity"), asked.get("kind")
    found = [
        each
        for each in found
        if severity in ("", each.latest.severity) and kind in ("", each.latest.kind)
    ]
    state = asked.get("state") if asked.get("state") in _STATES else "open"
    shown = [each for each in found if each.state == state]
    data = {
        "state": state,
        "numbers": {one: sum(each.state == one for each in found) for one in _STATES},
        "kinds": sorted({each.latest.kind for each in found}),
        "findings": shown[asked.offset : asked.offset + PAGE_SIZE],
        "more": len(shown) > asked.offset + PAGE_SIZE,
    }
    return Page("findings.html", "Findings", "/findings", data)


def finding(desk: Desk, asked: Asked, finding_id: str) -> Page:
    """Show one finding with the requests that have it; a POST tries its fix."""
    totals = next(
        (
            each
            for each in desk.store.findings(asked.period, limit=_MOST).items
            if each.latest.id == finding_id
        ),
        None,
    )
    if totals is None:
        return missing(
            "/findings",
            "This finding was not seen",
            "Nothing like it was found in this time range: choose a longer one.",
        )
    only = RequestFilter(finding_id=finding_id, order="slowest")
    living = _to_try(desk, finding_id)
    data = {
        "totals": totals,
        "requests": desk.store.requests(asked.period, only, limit=_REQUESTS).items,
        "can_try": living is not None,
        "trial": _tried(desk, living) if living and request.method == "POST" else None,
    }
    title = f"{totals.latest.kind}: {totals.latest.subject}"
    return Page("finding.html", title, "/findings", data)


def _to_try(desk: Desk, finding_id: str) -> Finding | None:
    """Return the finding as this process found it, if its fix is code that can be tried."""
    living = desk.store.living(finding_id) if desk.app.debug else None
    return living if living is not None and is_code(living.fix) else None


def _tried(desk: Desk, living: Finding) -> dict[str, Any]:
    """Write the fix into the source, and try it on the request; no file is changed."""
    try:
        patch = desk.tools.patch(desk.app, living)
    except PerfKitError as error:
        return {"holds": False, "message": str(error), "diff": ""}
    return {"holds": patch.holds, "message": patch.message, "diff": patch.diff}
