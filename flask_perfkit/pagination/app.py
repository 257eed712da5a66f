"""What the current application gives to a page: its settings, session and secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from flask import current_app, has_app_context, has_request_context, request

from flask_perfkit.config import Settings
from flask_perfkit.errors import SetupError

if TYPE_CHECKING:
    from flask import Flask
    from sqlalchemy.orm import Session, scoped_session

    AnySession = Session | scoped_session[Any]

_DEFAULTS = Settings()


def current_settings() -> Settings:
    """Return the settings of the current application, or the defaults where it has none."""
    app = _current_app()
    if app is not None and "perfkit" in app.extensions:
        return cast(Settings, app.extensions["perfkit"].settings)
    return _DEFAULTS


def current_session() -> AnySession:
    """Return Flask-SQLAlchemy's session of the current application.

    :raises SetupError: there is no application, or it has no Flask-SQLAlchemy.
    """
    app = _current_app()
    if app is None:
        raise SetupError(
            "no session to page with, as no application is active here: pass session=..., or page "
            "in a request or a command, or inside of `with app.app_context():`"
        )
    if "sqlalchemy" in app.extensions:
        return cast("AnySession", app.extensions["sqlalchemy"].session)
    raise SetupError(
        f"no session to page with, as the application {app.name!r} has no Flask-SQLAlchemy: pass "
        "session=..., or call db.init_app(app)"
    )


def current_cache() -> Any:
    """Return the cache of the current application.

    :raises SetupError: PerfKit does not watch it.
    """
    app = _current_app()
    if app is not None and "perfkit" in app.extensions:
        return app.extensions["perfkit"].cache
    raise SetupError(
        'total="cached" keeps its counts in PerfKit\'s cache: call perfkit.init_app(app) first'
    )


def current_secrets() -> tuple[bytes, ...]:
    """Return the keys of cursors, from the oldest to the one in use.

    That is ``PERFKIT_CURSOR_SECRET``, else ``SECRET_KEY``; before it come the
    ``SECRET_KEY_FALLBACKS``, whose cursors still hold.

    :raises SetupError: the application has none.
    """
    app = _current_app()
    secret = current_settings().cursor_secret or (app.secret_key if app else None)
    if app is None or not secret:
        raise SetupError("cursors are signed: set SECRET_KEY or PERFKIT_CURSOR_SECRET")
    keys = (*(app.config.get("SECRET_KEY_FALLBACKS") or ()), secret)
    return tuple(key.encode() if isinstance(key, str) else key for key in keys)


def _current_app() -> Flask | None:
    # Each access through the proxy would look the context up again.
    return current_app._get_current_object() if has_app_context() else None  # type: ignore[attr-defined]


def current_endpoint() -> str | None:
    """Return the endpoint of the current request, if there is one."""
    return request.endpoint if has_request_context() else None
