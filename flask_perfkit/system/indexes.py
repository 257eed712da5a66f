"""How often PostgreSQL uses each index, and how large it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Engine, text

if TYPE_CHECKING:
    from flask import Flask

_MOST = 500
_USE = text(
    "SELECT schemaname || '.' || relname, indexrelname, idx_scan, pg_relation_size(indexrelid)"
    " FROM pg_stat_user_indexes ORDER BY 4 DESC, 1, 2 LIMIT :most"
)


class IndexUse(NamedTuple):
    """The scans that used an index since the statistics began, and its size in bytes."""

    table: str
    name: str
    scans: int
    size: int


def postgresql_of(app: Flask, db: Any) -> Engine | None:
    """Return the engine of an application's main database; None where that is no PostgreSQL.

    :param db: what ``PerfKit`` was given, if anything.
    """
    try:
        engine = getattr(db or app.extensions.get("sqlalchemy"), "engine", None)
    except LookupError:  # Flask-SQLAlchemy with nothing but binds
        return None
    return engine if isinstance(engine, Engine) and engine.dialect.name == "postgresql" else None


def index_use(engine: Engine, seconds: float) -> list[IndexUse]:
    """Return the use of all indexes of a PostgreSQL database, the largest first.

    :param seconds: the longest that it may take, beside what a connection takes.
    """
    with engine.connect() as connection:
        connection.execute(text(f"SET LOCAL statement_timeout = {round(seconds * 1000)}"))
        return [IndexUse(*row) for row in connection.execute(_USE, {"most": _MOST})]
