"""Puts the dashboard among the routes of an application."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flask import Blueprint, has_request_context, request

from flask_perfkit.dashboard.desk import Desk
from flask_perfkit.dashboard.serving import Serving
from flask_perfkit.dashboard.views import VIEWS
from flask_perfkit.pages import DASHBOARD, exempt, host_of_pages, step_back
from flask_perfkit.standin import stand_in

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment
    from flask import Flask


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
            _pass_by_hooks(app)

    return at_first_request


def _pass_by_hooks(app: Flask) -> None:
    """Let none of the application's hooks see a request for a page.

    While one develops nobody is asked to log in, be it an API that no browser can log in to. With
    an auth the hooks are called as for any view: it may need the user that they have loaded.
    """
    _stand_in(app, "preprocess_request", lambda *_: None)
    _stand_in(app, "process_response", lambda *arguments: arguments[-1])
    _stand_in(app, "do_teardown_request", lambda *_: None)


def _stand_in(app: Flask, name: str, for_pages: Callable[..., Any]) -> None:
    """Have something else be done where a page is asked for."""
    method = getattr(app, name)

    def call(_: Flask, *arguments: Any) -> Any:
        is_page = has_request_context() and request.blueprint == DASHBOARD
        return (for_pages if is_page else method)(*arguments)

    setattr(app, name, stand_in(method, call))
