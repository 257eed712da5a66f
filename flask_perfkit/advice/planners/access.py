"""Chooses the planner for a database: the truest that can do no harm there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Literal

from sqlalchemy import create_engine
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool, QueuePool

from flask_perfkit.advice.planners.hypopg import HypoPG, schema_of_hypopg
from flask_perfkit.advice.planners.locks import DatabaseLocked, is_locked
from flask_perfkit.advice.planners.planner import Planner
from flask_perfkit.advice.planners.postgresql import PostgreSQL
from flask_perfkit.advice.planners.sqlite import SQLite
from flask_perfkit.errors import ExtraMissing, SetupError

Method = Literal["build", "hypopg", "ghost"]
_OTHERS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND coalesce(backend_type, 'client backend') = 'client backend'
"""
"""Who is no superuser is not told what kind the others are."""


@contextmanager
def planner_for(engine: Engine, *, harmless: bool, method: Method | None) -> Iterator[Planner]:
    """Open a planner for a database, and leave nothing behind.

    :param harmless: building indexes there disturbs nobody, as in debug and tests.
    :param method: insist on one way for PostgreSQL.
    :raises SetupError: the database is of another kind, or nothing harmless is possible.
    :raises DatabaseLocked: others came between with a lock.
    """
    name = engine.dialect.name
    if name not in ("postgresql", "sqlite"):
        raise SetupError(f"index advice knows PostgreSQL and SQLite, and not {name}")
    with _connected(engine) as connection:
        if name == "sqlite":
            opened: AbstractContextManager[Planner] = closing(SQLite(connection))
        elif _may_build(connection, engine, harmless=harmless, method=method):
            opened = closing(PostgreSQL(connection))
        elif method != "ghost" and (schema := schema_of_hypopg(connection)) is not None:
            opened = closing(HypoPG(connection, schema))
        elif method == "hypopg":
            raise SetupError("this database has no hypopg: CREATE EXTENSION hypopg, or another way")
        else:
            opened = _planning_only(connection, engine)
        with opened as planner:
            try:
                yield planner
            except DBAPIError as error:
                if not is_locked(error):
                    raise
                raise DatabaseLocked(
                    "others held a lock on the database while indexes were tried: run it again"
                ) from error


def _may_build(
    connection: Connection, engine: Engine, *, harmless: bool, method: Method | None
) -> bool:
    if method is not None:
        return method == "build"
    is_read_only = connection.exec_driver_sql("SHOW transaction_read_only").scalar_one() == "on"
    connection.rollback()
    return not is_read_only and (harmless or _is_alone(connection, engine))


@contextmanager
def _planning_only(connection: Connection, engine: Engine) -> Iterator[Planner]:
    """Plan on a ghost copy, as others work on the database."""
    from flask_perfkit.advice.planners.ghost import ghost_of

    try:
        with ghost_of(engine, connection) as planner, closing(planner):
            yield planner
    except ExtraMissing as error:
        raise SetupError(
            "others work on this database, and building indexes would hold up what they write: "
            "pip install 'flask-perfkit[ghost]' to plan without building, run this on a copy, or "
            "allow it with method='build' (flask perfkit indexes --method build)"
        ) from error


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
