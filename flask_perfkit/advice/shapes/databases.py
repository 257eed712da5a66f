"""The databases of an application, each with the tables of its models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import MetaData
from sqlalchemy.engine import Engine

if TYPE_CHECKING:
    from flask import Flask


def databases_of(app: Flask) -> list[tuple[Engine, MetaData]]:
    """Return what Flask-SQLAlchemy knows, nothing without it; it needs an application context."""
    db: Any = app.extensions.get("sqlalchemy")
    engines = getattr(db, "engines", {})
    return [(engine, db.metadatas[key]) for key, engine in engines.items()]
