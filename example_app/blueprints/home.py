from __future__ import annotations

from flask import Blueprint, current_app, render_template_string, request

ADDRESSES = {
    "/perfkit": "the dashboard of PerfKit: what is slow, why, and the line to change",
    "/documents?page=2&page_size=20&sort=-uploaded_at": "a page of documents",
    "/before/documents": "the same without pages: every row",
    "/before/analytics": "an N+1: watch the log and the Server-Timing header",
    "/analytics": "the same numbers from three statements",
    "/health": "whether the database answers",
    "/metrics": "figures for Prometheus",
}
"""Where to look first, and what is there."""

bp = Blueprint("home", __name__)


_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>An archive of documents</title>
<body>
<h1>An archive of documents</h1>
<dl>
{% for address, meaning in addresses.items() %}
<dt><a href="{{ request.script_root }}{{ address }}">{{ address }}</a></dt><dd>{{ meaning }}</dd>
{% endfor %}
</dl>
</body>
</html>
"""


@bp.get("/")
def show_addresses() -> dict[str, str] | str:
    """Answer a browser with a page of links, and all others with the same as JSON."""
    if request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html":
        return render_template_string(_PAGE, addresses=known_addresses())
    return known_addresses()


def known_addresses() -> dict[str, str]:
    """Return those addresses that this application answers: some need an extra."""
    router = current_app.url_map.bind("127.0.0.1")
    return {
        address: meaning
        for address, meaning in ADDRESSES.items()
        if router.test(address.partition("?")[0])
    }
