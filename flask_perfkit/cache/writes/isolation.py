"""How old the rows may be that a statement sees, and whether it commits by itself."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy.engine import Connection

from flask_perfkit.cache.writes.changes import Changes

LAG_OPTION = "perfkit_replica_lag"
"""Execution option of an engine on a replica: how many seconds it may be behind at most."""

SET_BY_TEXT = "flask_perfkit.cache.isolation"
"""Under which a connection's ``info`` says that a text has set a level of isolation."""

_NEXT_ONLY = frozenset({"mysql", "mariadb"})
_LATEST = frozenset({"READ COMMITTED", "AUTOCOMMIT"})


def snapshot(changes: Changes, context: Any) -> float:
    """Return how old the rows may be that the statement is going to see.

    On the clock of ``time.monotonic()``; infinity: none is older than the statement.

    :param changes: those of the transaction that it is part of.
    """
    connection = context.root_connection
    lag = context.execution_options.get(LAG_OPTION)
    if lag is not None:
        return min(time.monotonic(), changes.began) - float(lag)
    level = _level_in_force(connection)
    if level == "READ UNCOMMITTED":
        return float("-inf")
    latest = level in _LATEST or not in_transaction(connection)
    return float("inf") if latest else changes.began


def _level_in_force(connection: Connection) -> str | None:
    """Ask the driver, as text, a listener or the driver's own attribute may have set the level.

    None: it cannot be told, so every row may be as old as the transaction.
    """
    driver = connection.connection.dbapi_connection
    if driver is None:
        return None
    if commits_each_statement(connection):
        return "AUTOCOMMIT"
    try:
        level: str = connection.dialect.get_isolation_level(driver)
    except Exception:
        return None
    if connection.dialect.name in _NEXT_ONLY and level in _LATEST:
        # It is the session's that is told; one transaction may have been given another.
        return None if connection.info.get(SET_BY_TEXT) else level
    return level


def _level_as_configured(connection: Connection) -> str | None:
    level = connection.get_execution_options().get("isolation_level")
    return level or getattr(connection.dialect, "_on_connect_isolation_level", None)


def in_transaction(connection: Connection) -> bool:
    """Say whether SQLite holds a snapshot; its driver begins only before the first write."""
    if connection.dialect.name != "sqlite":
        return True
    return bool(getattr(connection.connection.driver_connection, "in_transaction", True))


def commits_each_statement(connection: Connection) -> bool:
    """Say whether a statement is committed as soon as it is executed."""
    if _level_as_configured(connection) == "AUTOCOMMIT":
        return True
    driver = connection.connection.driver_connection
    if connection.dialect.name == "sqlite":
        return getattr(driver, "isolation_level", "") is None and not in_transaction(connection)
    return getattr(driver, "autocommit", False) is True
