"""The transactions that drivers' connections are in, and the marks around their end.

No event of an engine comes after a commit, and a dialect has none about transactions. So a
dialect's own ``do_commit`` and its like are wrapped, once for each dialect that is seen to
execute something. They are the last step before the driver: whoever commits, by session,
connection or pool, passes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from types import MethodType
from typing import Any
from weakref import WeakSet, ref

from sqlalchemy.engine import Connection

from flask_perfkit.cache.process.fork import Lock
from flask_perfkit.cache.stores.tokens import LONG_MARK_SECONDS, MARK_SECONDS
from flask_perfkit.cache.writes.changes import Changes
from flask_perfkit.cache.writes.invalidation import Invalidator, Mark
from flask_perfkit.faults import log_once
from flask_perfkit.standin import stand_in

INFO = "flask_perfkit.cache"
"""Under which a driver's connection keeps its transaction in ``info``."""

invalidators: WeakSet[Invalidator] = WeakSet()
"""Those that are told of every commit of this process."""

writing: ContextVar[tuple[ref[Transaction], ...]] = ContextVar("flask_perfkit_writing", default=())
"""The transactions in which this context has written."""

_wrapping = Lock()


class Transaction:
    """What is known of the transaction that a driver's connection is in.

    ``over`` is said and not left to the object's end, which a traceback may put off; ``early``
    holds the marks that stand before its end; ``executed`` says that it had a statement,
    ``switched`` says that a text has made the
    connection see other data, as another role or schema.
    """

    def __init__(self) -> None:
        self.over = False
        self.executed = False
        self.switched = False
        self.changes = Changes()
        self.early: list[tuple[Invalidator, Mark]] = []


@contextmanager
def guarded() -> Iterator[None]:
    """Keep a fault of ours from breaking the application's statement."""
    try:
        yield
    except Exception:
        log_once("following a statement for the cache")


def transaction_of(connection: Connection) -> Transaction:
    """Return the transaction that the connection is in, which begins with this unless it has."""
    info = connection.info
    known: Transaction | None = info.get(INFO)
    if known is None:
        _wrap(connection.dialect)
        known = info[INFO] = Transaction()
    return known


def changes_of(connection: Connection) -> Changes:
    """Return what the connection's transaction changed so far."""
    return transaction_of(connection).changes


def begin_marks(changes: Changes, seconds: float) -> list[tuple[Invalidator, Mark]]:
    """Mark in every cache what these changes touch.

    :param seconds: life of the marks.
    """
    marks: list[tuple[Invalidator, Mark]] = []
    with guarded():
        tables = changes.tables()
        for invalidator in list(invalidators):
            marks.append((invalidator, invalidator.begin(tables, changes.began, seconds)))
    return marks


def end_marks(marks: list[tuple[Invalidator, Mark]]) -> None:
    """Take marks away, now that what they stood for is done."""
    with guarded():
        for invalidator, mark in marks:
            invalidator.end(mark)


def _wrap(dialect: Any) -> None:
    with _wrapping:
        if INFO in dialect.__dict__:
            return
        dialect.__dict__[INFO] = True
        for name, wrapper in _WRAPPERS.items():
            original = getattr(dialect, name)
            setattr(dialect, name, stand_in(original, _passing_on(wrapper, original)))


def _passing_on(wrapper: Callable[..., Any], original: Callable[..., Any]) -> Callable[..., Any]:
    """Return what calls a wrapper with the original first; a method's function gets its object."""
    if isinstance(original, MethodType):
        return lambda dialect, *args, **kwargs: wrapper(original, *args, **kwargs)
    return partial(wrapper, original)


def _take(connection: Any) -> Transaction | None:
    """Take the transaction that ends now from its connection."""
    transaction: Transaction | None = connection.info.pop(INFO, None)
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
    marks = begin_marks(transaction.changes, MARK_SECONDS) if transaction.changes else []
    result = original(connection, *args, **kwargs)
    end_marks([*marks, *transaction.early])
    return result


def _do_rollback(original: Callable[..., Any], connection: Any, *args: Any, **kwargs: Any) -> Any:
    transaction = _take(connection)
    result = original(connection, *args, **kwargs)
    if transaction is not None:
        end_marks(transaction.early)
    return result


def _do_prepare(original: Callable[..., Any], connection: Any, *args: Any, **kwargs: Any) -> Any:
    transaction: Transaction | None = connection.info.get(INFO)
    if transaction is not None and transaction.changes:
        transaction.early += begin_marks(transaction.changes, LONG_MARK_SECONDS)
    return original(connection, *args, **kwargs)


def _do_savepoint(original: Callable[..., Any], connection: Connection, name: str) -> Any:
    result = original(connection, name)
    changes_of(connection).savepoint(name)
    return result


def _do_rollback_to(original: Callable[..., Any], connection: Connection, name: str) -> Any:
    result = original(connection, name)
    changes_of(connection).rollback_to(name)
    return result


def _do_release(original: Callable[..., Any], connection: Connection, name: str) -> Any:
    result = original(connection, name)
    changes_of(connection).release(name)
    return result


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
