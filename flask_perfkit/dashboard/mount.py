"""Puts the dashboard among the routes of an application."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Blueprint, request

from flask_perfkit.dashboard.desk import Desk
from flask_perfkit.dashboard.serving import Serving
from flask_perfkit.dashboard.views import VIEWS
from flask_perfkit.pages import DASHBOARD, exempt, host_of_pages, step_back

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed.wsgi import WSGIEnvironment
    from flask import Flask
    from flask.typing import ResponseReturnValue


def add_dashboard(app: Flask, desk: Desk) -> Callable[[WSGIEnvironment], None]:
    """Serve the dashboard; returns what remains to be done when the first request comes."""
    settings = desk.state.settings
    path, auth = settings.dashboard_path.rstrip("/"), settings.dashboard_auth
    serving = Serving(desk, path, auth)
    blueprint = Blueprint(DASHBOARD, __name__, url_prefix=path)
    host = host_of_pages(app)
    rules = [(rule, show.__name__, serving.view(show), methods) for rule, show, methods in VIEWS]
    rules.append(("/static/<name>", "static", serving.static, ("GET",)))
    for rule, name, view, methods in rules:
        blueprint.add_url_rule(
            rule,
            name,
            view,
            methods=methods,
            host=host,
            strict_slashes=False,
            provide_automatic_options=False,
        )
    app.register_blueprint(blueprint)

    def at_first_request(environ: WSGIEnvironment) -> None:
        step_back(app, DASHBOARD, path, shown="the dashboard", setting="PERFKIT_DASHBOARD_PATH")
        exempt(app, blueprint)
        if auth is None:
            # While one develops nobody is asked to log in, be it an API that no browser can log
            # in to. With an auth the application's own hooks come first: it may need the user.
            app.before_request_funcs.setdefault(None, []).insert(0, _answer_first(app))

    return at_first_request


def _answer_first(app: Flask) -> Callable[[], ResponseReturnValue | None]:
    def answer_first() -> ResponseReturnValue | None:
        if request.blueprint != DASHBOARD or request.endpoint is None:
            return None
        return app.ensure_sync(app.view_functions[request.endpoint])(**(request.view_args or {}))  # type: ignore[no-any-return]

    return answer_first
