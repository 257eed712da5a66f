"""Executes statements beside other listeners: who listens, and in which order.

SQLAlchemy's ``do_execute`` events end at the first listener that executed the statement, so each
of ours lets those after it execute, or the dialect where there is none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

Listener = Callable[..., bool | None]


class ListenerOrder(IntEnum):
    """Where listeners stand: the recorder sees the statement first, a comment is added last."""

    RECORDER = 0
    TRACES = 1
    COMMENTS = 2


_standing: dict[ListenerOrder, Mapping[str, Listener]] = {}


def listen(order: ListenerOrder, listeners: Mapping[str, Listener]) -> None:
    """Let listeners of ``do_execute`` and its like stand in order; harmless when called again.

    :param listeners: by the event's name, which is that of the dialect's method too.
    """
    if order in _standing:
        return
    for _, others in _from(order):
        for name, listener in others.items():
            event.remove(Engine, name, listener)
    _standing[order] = listeners
    for _, each in _from(order):
        for name, listener in each.items():
            event.listen(Engine, name, listener)


def _from(order: ListenerOrder) -> list[tuple[ListenerOrder, Mapping[str, Listener]]]:
    return sorted(item for item in _standing.items() if item[0] >= order)


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
