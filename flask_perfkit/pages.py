"""Pages of ours among those of the application: who may see one, at which hosts, and who yields."""

from __future__ import annotations

import logging
from collections.abc import Callable
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from werkzeug.exceptions import HTTPException

from flask_perfkit.faults import log_once

if TYPE_CHECKING:
    from flask import Flask

logger = logging.getLogger("flask_perfkit")

METRICS, DASHBOARD = "perfkit_metrics", "perfkit_dashboard"
"""The endpoint of the page of figures, and the blueprint of the dashboard."""


def page_of(endpoint: str) -> str | None:
    """Return which page of ours an endpoint belongs to, if any."""
    name = endpoint.partition(".")[0]
    return name if name in (METRICS, DASHBOARD) else None


def passes(app: Flask, auth: Callable[..., object], setting: str) -> bool:
    """Ask whether the current request may see a page; what cannot be told is no pass.

    :param setting: the key that ``auth`` is the value of, for the log.
    :raises HTTPException: what ``auth`` aborts with is the answer.
    """
    try:
        passed = app.ensure_sync(auth)()
    except HTTPException:
        raise
    except Exception:
        log_once(setting)
        return False
    return bool(passed) and not isawaitable(passed)


def host_of_pages(app: Flask) -> str | None:
    """Return the host for a rule that shall match at every host."""
    # Where rules are matched by host, one without a host matches none.
    return "<perfkit_host>" if app.url_map.host_matching else None


def exempt(app: Flask, view: Any) -> None:
    """Let nobody be counted by Flask-Limiter who looks at a page."""
    for limiter in app.extensions.get("limiter") or ():
        limiter.exempt(view)


def withdraw(app: Flask, page: str) -> None:
    """Take the rules of a page away from their paths."""
    for rule in app.url_map.iter_rules():
        if page_of(rule.endpoint) == page:
            app.view_functions.pop(rule.endpoint, None)
            rule.methods = set()
    app.blueprints.pop(page, None)


def step_back(app: Flask, page: str, path: str, *, shown: str, setting: str) -> None:
    """Leave a path to the route that the application has there itself, and say so.

    :param shown: what the page shows, for the log.
    :param setting: the key that moves it.
    """
    at_path = {rule.endpoint for rule in app.url_map.iter_rules() if rule.rule == path}
    others = sorted(endpoint for endpoint in at_path if page_of(endpoint) != page)
    if not others:
        return
    for rule in app.url_map.iter_rules():
        if page_of(rule.endpoint) == page:
            rule.methods = set()
    logger.warning(
        "%s has a route at %s already (%s), which stands, so %s of Flask-PerfKit is not shown: "
        "set %s to another path",
        app.name,
        path,
        ", ".join(others),
        shown,
        setting,
    )
