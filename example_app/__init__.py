"""A document-management API: the application that PerfKit is tried on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flask import Flask
from sqlalchemy import event

from example_app import problems, seed
from example_app.blueprints import analytics, before, documents, health, home, users
from example_app.config import read_config
from example_app.converters import RowIdConverter
from example_app.extensions import db, migrate, perfkit

MIGRATIONS = Path(__file__).parent / "migrations"


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """Build the application; ``config`` is laid over the defaults and the environment."""
    app = Flask(__name__, static_folder=None)
    app.config.from_mapping(read_config(config))
    app.url_map.converters["id"] = RowIdConverter
    problems.init_app(app)
    db.init_app(app)
    migrate.init_app(app, db, MIGRATIONS)
    perfkit.init_app(app, db)
    for blueprint in (home.bp, documents.bp, users.bp, analytics.bp, before.bp, health.bp):
        app.register_blueprint(blueprint)
    app.cli.add_command(seed.seed)
    with app.app_context():
        if db.engine.dialect.name == "sqlite":
            event.listen(db.engine, "connect", _enforce_foreign_keys)
    return app


def _enforce_foreign_keys(connection: Any, _: Any) -> None:
    """SQLite ignores foreign keys unless each connection asks for them."""
    connection.execute("PRAGMA foreign_keys = ON")
