"""One small application around one module of views."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from flask import Flask, current_app
from sqlalchemy import Engine, NullPool, create_engine, make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from flask_perfkit import PerfKit

from .models import db

_NO_CLOCKS = {"PERFKIT_SLOW_QUERY": None, "PERFKIT_SLOW_REQUEST": None}
_NO_PAGES = {"PERFKIT_METRICS_PATH": None}
"""A busy machine makes anything slow, so only modules about slowness set these."""


def create_app(views: ModuleType, url: str) -> Flask:
    """Build the application of ``views`` on the database at ``url``.

    A module may bring ``CONFIG``, a mapping of settings, and ``init_app``.
    """
    app = Flask(__name__)
    app.config.from_mapping(
        SQLALCHEMY_DATABASE_URI=url, SECRET_KEY="corpus", PROPAGATE_EXCEPTIONS=False
    )
    db.init_app(app)
    app.extensions["plain_engine"] = create_engine(url)
    app.extensions["async_engine"] = create_async_engine(_async_url(url), poolclass=NullPool)
    app.config.from_mapping(_NO_CLOCKS | _NO_PAGES | {"PERFKIT_ON_FINDING": "ignore"})
    app.config.from_mapping(getattr(views, "CONFIG", {}))
    PerfKit(app)
    app.register_blueprint(views.bp)
    if hasattr(views, "init_app"):
        views.init_app(app)
    return app


def dispose(app: Flask) -> None:
    """Close every connection of an application."""
    app.extensions["plain_engine"].dispose()
    with app.app_context():
        db.engine.dispose()


def plain_engine() -> Engine:
    """Return the engine that Flask-SQLAlchemy knows nothing of."""
    engine: Engine = current_app.extensions["plain_engine"]
    return engine


def async_engine() -> AsyncEngine:
    """Return the asynchronous engine; it keeps no connection between event loops."""
    engine: AsyncEngine = current_app.extensions["async_engine"]
    return engine


def _async_url(url: str) -> Any:
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return parsed.set(drivername="sqlite+aiosqlite")
    return parsed
