"""Chooses the planner for a database: the truest that can do no harm there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from sqlalchemy import create_engine
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import NullPool, QueuePool

from flask_perfkit.advice.planners.planner import Planner
from flask_perfkit.advice.planners.postgresql import PostgreSQL
from flask_perfkit.advice.planners.sqlite import SQLite
from flask_perfkit.errors import SetupError

Method = Literal["build", "hypopg", "ghost"]
_OTHERS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend'
"""


@contextmanager
def planner_for(engine: Engine, *, harmless: bool, method: Method | None) -> Iterator[Planner]:
    """Open a planner for a database, and leave nothing behind.

    :param harmless: building indexes there disturbs nobody, as in debug and tests.
    :param method: insist on one way for PostgreSQL.
    :raises SetupError: the database is of another kind, or nothing harmless is possible.
    """
    name = engine.dialect.name
    if name not in ("postgresql", "sqlite"):
        raise SetupError(f"index advice knows PostgreSQL and SQLite, and not {name}")
    with _connected(engine) as connection:
        planner = (
            SQLite(connection)
            if name == "sqlite"
            else _postgresql(connection, engine, harmless=harmless, method=method)
        )
        try:
            yield planner
        finally:
            planner.close()


def _postgresql(
    connection: Connection, engine: Engine, *, harmless: bool, method: Method | None
) -> PostgreSQL:
    if method in (None, "build") and (
        harmless or method == "build" or _is_alone(connection, engine)
    ):
        return PostgreSQL(connection)
    raise SetupError(
        "others work on this database, and building indexes would hold up what they write: "
        "run this on a copy, or allow it with method='build' (flask perfkit indexes --build)"
    )


def _is_alone(connection: Connection, engine: Engine) -> bool:
    """Tell whether all that is connected to the database is this engine's pool."""
    pool = engine.pool
    ours = pool.checkedin() + pool.checkedout() if isinstance(pool, QueuePool) else 1
    connected = connection.exec_driver_sql(_OTHERS).scalar_one()
    connection.rollback()
    return bool(connected <= ours)


@contextmanager
def _connected(engine: Engine) -> Iterator[Connection]:
    """Connect, for an asynchronous engine by the driver that is not."""
    if not engine.dialect.is_async:
        with engine.connect() as connection:
            yield connection
        return
    kinds = {"aiosqlite": "sqlite", "psycopg": "postgresql+psycopg"}
    driver = kinds.get(engine.dialect.driver)
    if driver is None:
        raise SetupError(
            f"index advice cannot use {engine.dialect.driver}: record with psycopg or aiosqlite"
        )
    plain = create_engine(engine.url.set(drivername=driver), poolclass=NullPool)
    with plain.connect() as connection:
        yield connection
