"""Keeps databases as they are while a trial runs.

What a transaction holds is rolled back, whoever commits it. What no rollback takes back ends the
trial before it is sent: it is better to prove nothing than to leave something behind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from sys import _getframe
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import Pool
from sqlalchemy.pool.base import _ConnectionFairy
from sqlalchemy.sql.elements import (
    ReleaseSavepointClause,
    RollbackToSavepointClause,
    SavepointClause,
    TextClause,
)

from flask_perfkit.audit.trial.limits import Trial, TrialEnded, current_trial
from flask_perfkit.recording.fingerprint import WRITES, operation_of
from flask_perfkit.standin import stand_in

_READS = ("SELECT", "VALUES", "EXPLAIN", "SHOW", "DESCRIBE", "TABLE")
_SAVEPOINTS = (SavepointClause, ReleaseSavepointClause, RollbackToSavepointClause)
_DRIVER = ("cursor", "__getattr__", "driver_connection", "dbapi_connection")
"""The ways from SQLAlchemy's connection to the driver's, where nobody sees what is sent."""


@contextmanager
def nothing_kept() -> Iterator[None]:
    """Let no trial inside of the block change a database for good."""
    held = _Held()
    had_events = Engine._has_events
    listeners: list[tuple[Any, str, Callable[..., Any]]] = [
        (Engine, "begin", held.begin),
        (Engine, "before_cursor_execute", held.check),
        (Engine, "prepare_twophase", held.refuse_two_phases),
        (Engine, "handle_error", _keep_connection),
        (Pool, "checkin", held.take_back),
    ]
    with ExitStack() as stack:
        stack.callback(setattr, Engine, "_has_events", had_events)  # SQLAlchemy never does
        for target, name, listener in listeners:
            event.listen(target, name, listener)
            stack.callback(event.remove, target, name, listener)
        for name in _DRIVER:
            stack.enter_context(_watched(name))
        stack.callback(held.release)
        yield


class _Held:
    """The transactions that trials have begun, and the dialects that do not commit meanwhile."""

    def __init__(self) -> None:
        self._begun: dict[int, Any] = {}
        self._dialects: dict[int, tuple[Any, Any, Any]] = {}

    def begin(self, connection: Connection) -> None:
        """Hold the commits of a connection's dialect from now on."""
        dialect: Any = connection.dialect
        if id(dialect) not in self._dialects:
            before = vars(dialect).get("do_commit")
            dialect.do_commit = holding = _holding(dialect.do_commit)
            self._dialects[id(dialect)] = (dialect, before, holding)
        if current_trial() is not None:
            driver = _driver_of(connection)
            self._begun[id(driver)] = driver

    def check(
        self,
        connection: Connection,
        cursor: Any,
        statement: str,
        parameters: Any,
        context: Any,
        executemany: bool,
    ) -> None:
        """End the trial before a statement that cannot be taken back."""
        trial = current_trial()
        if trial is None:
            return
        trial.count_statement()
        tree = getattr(getattr(context, "compiled", None), "statement", None)
        operation = operation_of(statement)
        several = (tree is None or isinstance(tree, TextClause)) and ";" in statement.strip("; \n")
        if isinstance(tree, _SAVEPOINTS):
            self._check_transaction(trial, connection, "sets a savepoint")
            if connection.dialect.name == "sqlite" and not _is_open(_driver_of(connection)):
                _begin(_driver_of(connection))
        elif several or not _is_known(operation, statement, connection.dialect.name):
            trial.end(
                f"it sends {'several statements' if several else operation or 'SQL'}, "
                "which may not be taken back"
            )
        elif operation in WRITES:
            self._check_transaction(trial, connection, f"sends {operation}")

    def _check_transaction(self, trial: Trial, connection: Connection, does: str) -> None:
        driver = _driver_of(connection)
        if _commits_itself(connection, driver):
            trial.end(f"it {does} in AUTOCOMMIT, which cannot be taken back")
        if id(driver) not in self._begun:
            trial.end(f"it {does} in a transaction that was begun before, which would go with it")

    def refuse_two_phases(self, connection: Connection, xid: Any) -> None:
        """End the trial before a transaction is prepared."""
        trial = current_trial()
        if trial is not None:
            trial.end("it prepares a transaction of two phases, which cannot be taken back")

    def take_back(self, driver: Any, record: Any) -> None:
        """Roll back what a connection brings to its pool, whose own reset may be turned off."""
        if self._begun.pop(id(driver), None) is not None and driver is not None:
            _roll_back(driver)

    def release(self) -> None:
        """Roll back what is still open, and let commits pass again."""
        for driver in self._begun.values():
            _roll_back(driver)
        for dialect, before, holding in self._dialects.values():
            if dialect.do_commit is not holding:
                continue  # somebody has wrapped it since; it passes commits on from now
            if before is None:
                del dialect.do_commit
            else:
                dialect.do_commit = before


def _keep_connection(context: Any) -> None:
    """Keep SQLAlchemy from throwing a connection away because a trial was ended on it."""
    if isinstance(context.original_exception, TrialEnded):
        context.is_disconnect = False


def _holding(commit: Callable[[Any], None]) -> Any:
    """Return what commits outside of trials only, in the place of a dialect's way to commit."""

    def hold(*arguments: Any) -> None:
        if current_trial() is None:
            commit(arguments[-1])  # a method's function gets its object first

    return stand_in(commit, hold)


def _is_known(operation: str, statement: str, dialect: str) -> bool:
    if operation in _READS or operation in WRITES:
        return True
    if operation == "PRAGMA":
        return "=" not in statement
    return operation == "SET" and dialect == "postgresql"  # a rollback takes it back there


def _driver_of(connection: Connection) -> Any:
    return connection.connection.dbapi_connection


def _is_open(driver: Any) -> bool:
    """Tell whether SQLite's driver has a transaction open; an asynchronous one is asked inside."""
    inner = getattr(driver, "_connection", driver)
    return bool(getattr(inner, "in_transaction", False))


def _begin(driver: Any) -> None:
    """Begin a transaction around a savepoint, whose release would else be SQLite's commit."""
    cursor = driver.cursor()
    cursor.execute("BEGIN")
    cursor.close()


def _commits_itself(connection: Connection, driver: Any) -> bool:
    private: Any = connection
    if private._is_autocommit_isolation() or getattr(driver, "autocommit", None) is True:
        return True
    if connection.dialect.name != "sqlite" or _is_open(driver):
        return False
    return getattr(driver, "isolation_level", "") is None


def _roll_back(driver: Any) -> None:
    with suppress(Exception):  # it was closed, and so rolled back
        driver.rollback()


@contextmanager
def _watched(name: str) -> Iterator[None]:
    """End a trial whose application takes the driver's connection from SQLAlchemy's."""
    holder = next(each for each in _ConnectionFairy.__mro__ if name in vars(each))
    original = vars(holder)[name]
    own = vars(_ConnectionFairy).get(name)

    def look(fairy: Any, *arguments: Any, **more: Any) -> Any:
        asking = str(_getframe(1).f_globals.get("__name__"))
        trial = current_trial()
        if trial is not None and asking.partition(".")[0] not in ("sqlalchemy", "flask_perfkit"):
            trial.end("it uses the driver's own connection, where nobody sees what is sent")
        if callable(original):
            return original(fairy, *arguments, **more)
        return original.__get__(fairy, type(fairy))

    watched: Any = (
        look if callable(original) else property(look, getattr(original, "__set__", None))
    )
    setattr(_ConnectionFairy, name, watched)
    try:
        yield
    finally:
        if own is None:
            delattr(_ConnectionFairy, name)
        else:
            setattr(_ConnectionFairy, name, own)
