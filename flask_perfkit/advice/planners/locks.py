"""Locks of PostgreSQL's that others hold: waited for twice, never for long."""

from __future__ import annotations

from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from flask_perfkit.errors import SetupError

TIMEOUT = "2s"
_TRIES = 2
_NOT_HAD = {"55P03", "40P01"}
"""The states of an error that says: not within the time, or each waits for the other."""


class DatabaseLocked(SetupError):
    """Others came between with a lock, so that nothing is known; another run may be luckier."""


def wait_briefly(connection: Connection) -> None:
    """Give up on locks after a while, until the transaction ends."""
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{TIMEOUT}'")


def lock(connection: Connection, table: str, mode: str) -> bool:
    """Lock a table until the transaction ends; tell whether that could be.

    Autovacuum gives way to whoever waits for a second: so the second try has the lock, where it
    was no one else. A table that is not there, or that one may not lock, is nobody's.

    :param table: its name, quoted where it must be.
    """
    for _ in range(_TRIES):
        savepoint = connection.begin_nested()
        try:
            connection.exec_driver_sql(f"LOCK TABLE {table} IN {mode} MODE")
        except DBAPIError as error:
            savepoint.rollback()
            if not is_locked(error):
                return True
        else:
            savepoint.commit()
            return True
    return False


def is_locked(error: DBAPIError) -> bool:
    """Tell whether a statement failed because others hold a lock."""
    state = getattr(error.orig, "sqlstate", None) or getattr(error.orig, "pgcode", None)
    return state in _NOT_HAD
