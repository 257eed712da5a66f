from __future__ import annotations

from flask import Blueprint, current_app

ADDRESSES = {
    "/documents?page=2&page_size=20&sort=-uploaded_at": "a page of documents",
    "/before/documents": "the same without pages: every row",
    "/before/analytics": "an N+1: watch the log and the Server-Timing header",
    "/analytics": "the same numbers from three statements",
    "/health": "whether the database answers",
    "/metrics": "figures for Prometheus",
    "/perfkit": "the dashboard of PerfKit",
}
"""Where to look first, and what is there."""

bp = Blueprint("home", __name__)


@bp.get("/")
def show_addresses() -> dict[str, str]:
    return known_addresses()


def known_addresses() -> dict[str, str]:
    """Return those addresses that this application answers: some need an extra."""
    router = current_app.url_map.bind("127.0.0.1")
    return {
        address: meaning
        for address, meaning in ADDRESSES.items()
        if router.test(address.partition("?")[0])
    }
