"""Notice what the process writes, and tell every cache before and after it is committed.

Statements are seen through the dialect's ``do_execute`` events: listening to the connection's
events would make every statement of the process slower. No event comes after a commit, and
none of the dialect's is about transactions, so a dialect's own ``do_commit`` and its like are
wrapped, once for each dialect that is seen to execute something. They are the last step before
the driver: whoever commits, by session, connection or pool, passes them.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from weakref import WeakSet, ref

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.orm import InstanceState, Mapper, Session, object_session
from sqlalchemy.orm.attributes import History
from sqlalchemy.orm.exc import UnmappedColumnError

from flask_perfkit.cache.entries.dependencies import column_name, table_token, value_text
from flask_perfkit.cache.reads import sessions
from flask_perfkit.cache.reads.creators import CreatorRun, running
from flask_perfkit.cache.stores.tokens import LONG_MARK_SECONDS, MARK_SECONDS
from flask_perfkit.cache.writes.changes import Changes, watched
from flask_perfkit.cache.writes.invalidation import Invalidator, Mark
from flask_perfkit.cache.writes.statements import Facts, facts
from flask_perfkit.faults import log_once

LAG_OPTION = "perfkit_replica_lag"
"""Execution option of an engine on a replica: how many seconds it may be behind at most."""

_INFO = "flask_perfkit.cache"
_NOTED = "_perfkit_noted"
_LATEST = frozenset({"READ COMMITTED", "AUTOCOMMIT"})

_invalidators: WeakSet[Invalidator] = WeakSet()
_following = threading.Lock()
_wrapping = threading.Lock()
_writing: ContextVar[tuple[ref[_Transaction], ...]] = ContextVar(
    "flask_perfkit_writing", default=()
)


class _Transaction:
    """What is known of the transaction that a driver's connection is in.

    ``over`` is said and not left to the object's end, which a traceback may put off.
    """

    def __init__(self) -> None:
        self.over = False
        self.changes = Changes()
        self.early: list[tuple[Invalidator, Mark]] = []


def listen(invalidator: Invalidator) -> None:
    """Tell this invalidator of every commit from now on, for as long as it lives."""
    follow()
    _invalidators.add(invalidator)


def follow() -> None:
    """Follow the writes of this process; safe to call again.

    A cache needs to know what transactions wrote that are under way when it opens, so whoever
    is going to open one calls this as early as possible. Sessions that are in one already are
    taken up.
    """
    with _following:
        if event.contains(Engine, "do_execute", _do_execute):
            return
        with _guarded():
            for session in sessions.listen():
                _take_up(session)
        for target, name, listener in _LISTENERS:
            # In front: a listener that executes the statement itself ends the chain.
            event.listen(target, name, listener, insert=target is Engine)


def _take_up(session: Session) -> None:
    """Take a transaction that began before we listened for one that wrote to every table.

    Which ones is not known. SQLite's driver tells whether it wrote at all.
    """
    for connection in sessions.connections(session):
        if _in_transaction(connection):
            transaction = _transaction(connection)
            for table in sessions.mapped_tables():
                transaction.changes.table(table).writes += 1
            _writing.set((*_writing.get(), ref(transaction)))


def uncommitted(tables: frozenset[str] | None) -> bool:
    """Say whether this context has written to these tables and not committed yet.

    :param tables: None stands for any table.
    """
    if sessions.has_unflushed_changes(tables):
        return True
    for reference in _writing.get():
        transaction = reference()
        if transaction is not None and not transaction.over and transaction.changes.touches(tables):
            return True
    return False


@contextmanager
def _guarded() -> Iterator[None]:
    """Keep a fault of ours from breaking the application's statement."""
    try:
        yield
    except Exception:
        log_once("following a statement for the cache")


def _do_execute_no_params(cursor: Any, statement: str, context: Any) -> None:
    _do_execute(cursor, statement, (), context)


def _do_execute(_cursor: Any, _statement: str, _parameters: Any, context: Any) -> None:
    try:
        transaction = context.root_connection.connection.info.get(_INFO)
        if transaction is None:
            transaction = _transaction(context.root_connection)
        if transaction.early:
            early, transaction.early = transaction.early, []
            _end(early)
        run = running.get()
        if run is None and not (
            context.isinsert
            or context.isupdate
            or context.isdelete
            or context.compiled is None
            or context.isddl
            or context.is_text
            or context.compiled.ctes
        ):
            return
        found = facts(context)
        if run is not None:
            _note_read(run, found, transaction, context)
        if found.writes or found.commits:
            _note_write(found, transaction, context)
    except NotImplementedError:
        pass  # info of a connection on which the dialect asks a new server for its version
    except Exception:
        log_once("following a statement for the cache")


def _note_read(run: CreatorRun, found: Facts, transaction: _Transaction, context: Any) -> None:
    changes = transaction.changes
    if changes and (found.opaque or changes.touches(found.reads)):
        run.refuse("it read rows that are not committed yet")
    run.statement(found.reads, opaque=found.opaque, snapshot=_snapshot(transaction, context))


def _note_write(found: Facts, transaction: _Transaction, context: Any) -> None:
    if not getattr(context, _NOTED, False):
        setattr(context, _NOTED, True)  # an insert in batches comes once for each batch
        parameters = getattr(context, "compiled_parameters", [])
        for write in found.writes:
            transaction.changes.table(write.table).note(write, parameters)
        if found.writes:
            open_ones = [item for item in _writing.get() if _is_other(item(), transaction)]
            _writing.set((*open_ones, ref(transaction)))
    if transaction.changes and (found.commits or _commits_each_statement(context.root_connection)):
        transaction.early += _begin(transaction.changes, LONG_MARK_SECONDS)


def _is_other(found: _Transaction | None, transaction: _Transaction) -> bool:
    return found is not None and found is not transaction and not found.over


def _snapshot(transaction: _Transaction, context: Any) -> float:
    """Return how old the rows may be that the statement is going to see."""
    connection = context.root_connection
    lag = context.execution_options.get(LAG_OPTION)
    if lag is not None:
        return min(time.monotonic(), transaction.changes.began) - float(lag)
    level = _isolation_level(connection)
    if level == "READ UNCOMMITTED":
        return float("-inf")
    if level in _LATEST or not _in_transaction(connection):
        return float("inf")
    return transaction.changes.began


def _isolation_level(connection: Connection) -> str | None:
    level = connection.get_execution_options().get("isolation_level")
    return (
        level
        or getattr(connection.dialect, "_on_connect_isolation_level", None)
        or connection.default_isolation_level
    )


def _in_transaction(connection: Connection) -> bool:
    """Say whether SQLite holds a snapshot; its driver begins only before the first write."""
    if connection.dialect.name != "sqlite":
        return True
    return bool(getattr(connection.connection.driver_connection, "in_transaction", True))


def _commits_each_statement(connection: Connection) -> bool:
    if _isolation_level(connection) == "AUTOCOMMIT":
        return True
    driver = connection.connection.driver_connection
    if connection.dialect.name == "sqlite":
        return getattr(driver, "isolation_level", "") is None and not _in_transaction(connection)
    return getattr(driver, "autocommit", False) is True


def _before_insert(mapper: Mapper[Any], connection: Connection, _target: object) -> None:
    with _guarded():
        for table, _ in _watched_tables(mapper):
            _changes(connection).table(table).expect_insert()


def _after_insert(mapper: Mapper[Any], connection: Connection, target: object) -> None:
    with _guarded():
        for table, columns in _watched_tables(mapper):
            values = {name: _texts(target, mapper, column) for name, column in columns.items()}
            _changes(connection).table(table).inserted(values)


def _before_change(mapper: Mapper[Any], connection: Connection, target: object) -> None:
    with _guarded():
        if not _loaded_here(target):
            return
        for table, columns in _watched_tables(mapper):
            source = next(iter(columns.values())).table
            key = tuple(str(_before(target, mapper, column)) for column in source.primary_key)
            values = {name: _texts(target, mapper, column) for name, column in columns.items()}
            _changes(connection).table(table).announce(key, values)


def _loaded_here(target: object) -> bool:
    """Say whether the object's values were surely read in its session's transaction."""
    return sessions.loaded_in_this_transaction(object_session(target))


def _watched_tables(mapper: Mapper[Any]) -> Iterator[tuple[str, dict[str, sa.Column[Any]]]]:
    for table in mapper.tables:
        if isinstance(table, sa.Table):
            names = watched(table_token(table.name))
            if names:
                columns = {column_name(column): column for column in table.c}
                yield (
                    table_token(table.name),
                    {name: columns[name] for name in names if name in columns},
                )


def _texts(target: object, mapper: Mapper[Any], column: sa.Column[Any]) -> set[str] | None:
    """Write the values that an object's column had and has; None if one is not known."""
    history = _history(target, mapper, column)
    if history is None or (history.added and not history.deleted and _is_stored(target)):
        return None
    texts = {value_text(value, column.type) for value in history.sum()}
    return None if not texts or None in texts else {text for text in texts if text is not None}


def _before(target: object, mapper: Mapper[Any], column: sa.Column[Any]) -> Any:
    """Return the value that the column has in the database."""
    history = _history(target, mapper, column)
    if history is None:
        return None
    return next(iter([*history.deleted, *history.unchanged, *history.added]), None)


def _history(target: object, mapper: Mapper[Any], column: sa.Column[Any]) -> History | None:
    """Return what an object's column had and has, loading nothing; None if it is not mapped."""
    try:
        name = mapper.get_property_by_column(column).key
    except UnmappedColumnError:
        return None
    return _state(target).attrs[name].history


def _is_stored(target: object) -> bool:
    return _state(target).persistent


def _state(target: object) -> InstanceState[Any]:
    """Return what SQLAlchemy knows of a mapped object."""
    state: InstanceState[Any] = sa.inspect(target)
    return state


def _transaction(connection: Connection) -> _Transaction:
    info = connection.info
    known: _Transaction | None = info.get(_INFO)
    if known is None:
        _wrap(connection.dialect)
        known = info[_INFO] = _Transaction()
    return known


def _changes(connection: Connection) -> Changes:
    return _transaction(connection).changes


def _begin(changes: Changes, seconds: float) -> list[tuple[Invalidator, Mark]]:
    marks: list[tuple[Invalidator, Mark]] = []
    with _guarded():
        tables = changes.tables()
        for invalidator in list(_invalidators):
            marks.append((invalidator, invalidator.begin(tables, changes.began, seconds)))
    return marks


def _end(marks: list[tuple[Invalidator, Mark]]) -> None:
    with _guarded():
        for invalidator, mark in marks:
            invalidator.end(mark)


def _wrap(dialect: Any) -> None:
    with _wrapping:
        if _INFO in dialect.__dict__:
            return
        dialect.__dict__[_INFO] = True
        for name, wrapper in _WRAPPERS.items():
            original = getattr(dialect, name)
            setattr(dialect, name, functools.wraps(original)(functools.partial(wrapper, original)))


def _take(connection: Any) -> _Transaction | None:
    """Take the transaction that ends now from its connection."""
    transaction: _Transaction | None = connection.info.pop(_INFO, None)
    if transaction is not None:
        transaction.over = True
    return transaction


def _do_commit(original: Callable[..., Any], connection: Any, *args: Any, **kwargs: Any) -> Any:
    """Commit between mark and end.

    If the driver raises, the marks stay until their deadline: the server may have committed
    all the same, or still be about to.
    """
    transaction = _take(connection)
    if transaction is None:
        return original(connection, *args, **kwargs)
    marks = _begin(transaction.changes, MARK_SECONDS) if transaction.changes else []
    result = original(connection, *args, **kwargs)
    _end([*marks, *transaction.early])
    return result


def _do_rollback(original: Callable[..., Any], connection: Any, *args: Any, **kwargs: Any) -> Any:
    transaction = _take(connection)
    result = original(connection, *args, **kwargs)
    if transaction is not None:
        _end(transaction.early)
    return result


def _do_prepare(original: Callable[..., Any], connection: Any, *args: Any, **kwargs: Any) -> Any:
    transaction: _Transaction | None = connection.info.get(_INFO)
    if transaction is not None and transaction.changes:
        transaction.early += _begin(transaction.changes, LONG_MARK_SECONDS)
    return original(connection, *args, **kwargs)


def _do_savepoint(original: Callable[..., Any], connection: Connection, name: str) -> Any:
    result = original(connection, name)
    _changes(connection).savepoint(name)
    return result


def _do_rollback_to(original: Callable[..., Any], connection: Connection, name: str) -> Any:
    result = original(connection, name)
    _changes(connection).rollback_to(name)
    return result


def _do_release(original: Callable[..., Any], connection: Connection, name: str) -> Any:
    result = original(connection, name)
    _changes(connection).release(name)
    return result


_LISTENERS: tuple[tuple[type, str, Callable[..., None]], ...] = (
    (Engine, "do_execute", _do_execute),
    (Engine, "do_executemany", _do_execute),
    (Engine, "do_execute_no_params", _do_execute_no_params),
    (Mapper, "before_insert", _before_insert),
    (Mapper, "after_insert", _after_insert),
    (Mapper, "before_update", _before_change),
    (Mapper, "before_delete", _before_change),
)

_WRAPPERS: dict[str, Callable[..., Any]] = {
    "do_commit": _do_commit,
    "do_rollback": _do_rollback,
    "do_prepare_twophase": _do_prepare,
    "do_commit_twophase": _do_commit,
    "do_rollback_twophase": _do_rollback,
    "do_savepoint": _do_savepoint,
    "do_rollback_to_savepoint": _do_rollback_to,
    "do_release_savepoint": _do_release,
}
