"""What the current application gives to a page: its settings and its session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from flask import current_app, has_app_context

from flask_perfkit.config import Settings
from flask_perfkit.errors import SetupError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session, scoped_session

    AnySession = Session | scoped_session[Any]

_DEFAULTS = Settings()


def current_settings() -> Settings:
    """Return the settings of the current application, or the defaults where it has none."""
    if has_app_context() and "perfkit" in current_app.extensions:
        return cast(Settings, current_app.extensions["perfkit"].settings)
    return _DEFAULTS


def current_session() -> AnySession:
    """Return Flask-SQLAlchemy's session of the current application.

    :raises SetupError: there is no application, or it has no Flask-SQLAlchemy.
    """
    if has_app_context() and "sqlalchemy" in current_app.extensions:
        return cast("AnySession", current_app.extensions["sqlalchemy"].session)
    raise SetupError(
        "no session to page with: pass session=..., or set up Flask-SQLAlchemy on the application"
    )
