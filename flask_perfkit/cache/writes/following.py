"""Notice what the process writes, and tell every cache before and after it is committed."""

from __future__ import annotations

from weakref import ref

from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Mapper, Session

from flask_perfkit.cache.process.fork import Lock
from flask_perfkit.cache.reads import sessions
from flask_perfkit.cache.writes import execution, flushes
from flask_perfkit.cache.writes.invalidation import Invalidator
from flask_perfkit.cache.writes.isolation import in_transaction
from flask_perfkit.cache.writes.transactions import guarded, invalidators, transaction_of, writing

_following = Lock()


def listen(invalidator: Invalidator) -> None:
    """Tell this invalidator of every commit from now on, for as long as it lives."""
    follow()
    invalidators.add(invalidator)


def follow() -> None:
    """Follow the writes of this process; safe to call again.

    A cache needs to know what transactions wrote that are under way when it opens, so whoever
    is going to open one calls this as early as possible. Sessions that are in one already are
    taken up.
    """
    with _following:
        if event.contains(Engine, "do_execute", execution.LISTENERS["do_execute"]):
            return
        with guarded():
            for session in sessions.listen():
                _take_up(session)
        for name, listener in execution.LISTENERS.items():
            # In front: a listener that executes the statement itself ends the chain.
            event.listen(Engine, name, listener, insert=True)
        for name, listener in flushes.LISTENERS.items():
            event.listen(Mapper, name, listener)


def uncommitted(tables: frozenset[str] | None) -> bool:
    """Say whether this context has written to these tables and not committed yet.

    :param tables: None stands for any table.
    """
    if sessions.has_unflushed_changes(tables):
        return True
    for reference in writing.get():
        transaction = reference()
        if transaction is not None and not transaction.over and transaction.changes.touches(tables):
            return True
    return False


def _take_up(session: Session) -> None:
    """Take a transaction that began before we listened for one that wrote to every table.

    Which ones is not known. SQLite's driver tells whether it wrote at all.
    """
    for connection in sessions.connections(session):
        if in_transaction(connection):
            transaction = transaction_of(connection)
            for table in sessions.mapped_tables():
                transaction.changes.table(table).writes += 1
            writing.set((*writing.get(), ref(transaction)))
