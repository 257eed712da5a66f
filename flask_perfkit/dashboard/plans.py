"""The plan of a SELECT that was seen: it is not executed, and its values are not known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy.dialects.postgresql.asyncpg import dialect as numbered_dialect
from sqlalchemy.exc import SQLAlchemyError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.engine import Connection, Engine

    from flask_perfkit.recording.issued import Issued

_LONGEST = 5_000  # milliseconds that planning may take
_GENERIC_PLANS_SINCE = (16,)
_NUMBERED: Any = numbered_dialect()  # type: ignore[no-untyped-call]
_WHOLE = {"render_postcompile": True}


class NoPlan(Exception):
    """There is no plan to be had, and why."""


def plan_of(issued: Issued, engines: Iterable[Engine]) -> list[str]:
    """Return the lines of a plan.

    :raises NoPlan: it says why there is none.
    """
    statement = issued.statement
    if statement is None:
        raise NoPlan("SQLAlchemy has forgotten the statement: open the page that sends it again.")
    engine = next((each for each in engines if each.dialect is issued.dialect), None)
    if engine is None:
        raise NoPlan(
            "Its engine is not known here: give Flask-SQLAlchemy's db to PerfKit(app, db)."
        )
    if engine.dialect.is_async:
        raise NoPlan("It was sent through an async engine, which this page cannot wait for.")
    planner = _PLANNERS.get(engine.dialect.name)
    if planner is None:
        raise NoPlan(
            f"{engine.dialect.name} plans only with the values of a statement, which are not kept."
        )
    try:
        with engine.connect() as connection:
            try:
                return planner(connection, statement)
            finally:
                connection.rollback()
    except SQLAlchemyError as error:
        raise NoPlan(f"The database says no: {getattr(error, 'orig', None) or error}") from error


def _postgresql(connection: Connection, statement: Any) -> list[str]:
    """Ask for the plan that holds for any values."""
    version = connection.dialect.server_version_info or ()
    if version < _GENERIC_PLANS_SINCE:
        raise NoPlan("PostgreSQL plans without values from version 16 on.")
    # It writes parameters as $1, which is how EXPLAIN takes those without a value.
    sql = str(statement.compile(dialect=_NUMBERED, compile_kwargs=_WHOLE))
    connection = connection.execution_options(no_parameters=True)
    connection.exec_driver_sql(f"SET LOCAL statement_timeout = {_LONGEST}")
    rows = connection.exec_driver_sql(f"EXPLAIN (GENERIC_PLAN) {sql}")
    return [row[0] for row in rows]


def _sqlite(connection: Connection, statement: Any) -> list[str]:
    """Ask for the plan, which does not depend on values: each is NULL."""
    compiled = statement.compile(dialect=connection.dialect, compile_kwargs=_WHOLE)
    nothing = (None,) * len(compiled.positiontup or ())
    rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}", nothing)
    depths = {0: -1}
    lines = []
    for number, parent, _, detail in rows:
        depths[number] = depths.get(parent, -1) + 1
        lines.append("  " * depths[number] + detail)
    return lines


_PLANNERS = {"postgresql": _postgresql, "sqlite": _sqlite}
