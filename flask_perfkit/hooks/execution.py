"""Executes statements beside other listeners: who listens, and in which order.

SQLAlchemy's ``do_execute`` events end at the first listener that executed the statement, so each
of ours lets those after it execute, or the dialect where there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any
from weakref import ref

from sqlalchemy import event
from sqlalchemy.engine import Engine
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.engine.events import DialectEvents

Listener = Callable[..., bool | None]

_MOST_ALONE = 10

alone: list[Any] = []
"""Dialects on which a statement is executed by the cursor alone, once the recorder has it.

Nobody listens after the recorder, and the dialect has no way of its own. Emptied whenever
somebody begins to listen to a dialect: most applications do so when they start, if at all.
Emptied as well when a pool of connections is gone: nothing of a dead engine is kept here.
"""

_pools: list[ref[Any]] = []
"""The pools of the dialects that stand alone; each empties both lists when it is gone."""


class ListenerOrder(IntEnum):
    """Where listeners stand: the recorder sees the statement first, a comment is added last."""

    RECORDER = 0
    TRACES = 1
    WORKLOAD = 2
    COMMENTS = 3


_standing: dict[ListenerOrder, Mapping[str, Listener]] = {}


def listen(order: ListenerOrder, listeners: Mapping[str, Listener]) -> None:
    """Let listeners of ``do_execute`` and its like stand in order; harmless when called again.

    :param listeners: by the event's name, which is that of the dialect's method too.
    """
    if _standing.get(order):
        return
    if not _standing:
        DialectEvents._listen = _noticing(DialectEvents._listen)  # type: ignore[method-assign]
    for _, others in _from(order):
        for name, listener in others.items():
            event.remove(Engine, name, listener)
    _standing[order] = listeners
    for _, each in _from(order):
        for name, listener in each.items():
            event.listen(Engine, name, listener)


def stop_listening(order: ListenerOrder) -> None:
    """Take the listeners of a place off again; harmless where none stand."""
    for name, listener in _standing.get(order, {}).items():
        event.remove(Engine, name, listener)
    _standing[order] = {}


def _noticing(begin_to_listen: Callable[..., None]) -> Any:
    """Wrap what every way to listen to a dialect comes by."""

    def begin(event_key: Any, **options: Any) -> None:
        begin_to_listen(event_key, **options)
        _forget()

    return staticmethod(begin)


def _from(order: ListenerOrder) -> list[tuple[ListenerOrder, Mapping[str, Listener]]]:
    return sorted(item for item in _standing.items() if item[0] >= order)


def execute_with_others(ours: Listener, context: Any, *arguments: Any) -> None:
    """Execute a statement where others may listen too; note a dialect on which nobody does.

    :param arguments: what ``do_execute`` gets before its last argument, which is the context.
    """
    dialect = context.dialect
    others = listeners_after(ours, dialect, "do_execute")
    if not others and _has_no_way_of_its_own(dialect):
        if len(alone) >= _MOST_ALONE:
            _forget()
        alone.append(dialect)
        _pools.append(ref(context.root_connection.engine.pool, _forget))
        if listeners_after(ours, dialect, "do_execute"):  # somebody has begun meanwhile
            _forget()
    for listener in others:
        if listener(*arguments, context):
            return
    dialect.do_execute(*arguments, context)


def _forget(_: object = None) -> None:
    alone.clear()
    _pools.clear()


def _has_no_way_of_its_own(dialect: Any) -> bool:
    return getattr(dialect.do_execute, "__func__", None) is DefaultDialect.do_execute


def listeners_after(ours: Listener, dialect: Any, method: str) -> list[Listener]:
    """Return the listeners that SQLAlchemy would call after ours if we let it go on."""
    listeners = [*getattr(dialect.dispatch, method)]
    return listeners[listeners.index(ours) + 1 :]


def pass_on(ours: Listener, method: str, context: Any, *arguments: Any) -> None:
    """Let the listeners after ours execute a statement, or else the dialect.

    :param arguments: what the event got before its last argument, which is the context.
    """
    dialect = context.dialect
    for listener in listeners_after(ours, dialect, method):
        if listener(*arguments, context):
            return
    getattr(dialect, method)(*arguments, context)
