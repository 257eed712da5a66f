"""Ways by which a creator reads past SQLAlchemy's statements, watched while creators run.

A raw connection, the driver's cursor and threads of its own leave no statement in the context of
the creator. SQLAlchemy and other libraries use these ways too, for statements that are seen, so
what counts is whose code goes one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import Context
from functools import wraps
from sys import _getframe
from threading import Thread
from typing import Any

from sqlalchemy.engine import Engine
from sqlalchemy.pool.base import _ConnectionFairy

from flask_perfkit.cache.process.fork import Lock

_LIBRARIES = (
    "sqlalchemy",
    "flask_perfkit",
    "asyncio",
    "asgiref",
    "aiosqlite",
    "concurrent",
    "threading",
    "redis",
)
_WAYS: tuple[tuple[Any, str, str], ...] = (
    (Engine, "raw_connection", "it reads by a raw connection of its own"),
    (_ConnectionFairy, "cursor", "it reads by the driver's cursor"),
    (_ConnectionFairy, "driver_connection", "it reads by the driver's connection"),
    (ThreadPoolExecutor, "submit", "it reads in other threads"),
    (Thread, "start", "it reads in other threads"),
)
_CURE = ", which is not seen; name the tables with depends_on=[...]"

_guard = Lock()
_originals: dict[tuple[Any, str], Any] = {}
_running = 0


@contextmanager
def watch_unseen(note: Callable[[str], None]) -> Iterator[None]:
    """Watch these ways while one more creator runs.

    :param note: told each time, with the reason; it knows which creator runs in its context.
    """
    global _running
    with _guard:
        _running += 1
        if _running == 1:
            _install(note)
    try:
        yield
    finally:
        with _guard:
            _running -= 1
            if _running == 0:
                _remove()


def _install(note: Callable[[str], None]) -> None:
    for owner, name, reason in _WAYS:
        original = vars(owner)[name]
        _originals[owner, name] = original
        setattr(owner, name, _watched(original, reason + _CURE, note))


def _remove() -> None:
    for (owner, name), original in _originals.items():
        setattr(owner, name, original)
    _originals.clear()


def _watched(original: Any, reason: str, note: Callable[[str], None]) -> Any:
    if isinstance(original, property):
        return property(_watched(original.fget, reason, note))

    @wraps(original)
    def watched(*args: Any, **kwargs: Any) -> Any:
        caller = _getframe(1).f_globals.get("__name__", "").partition(".")[0]
        if caller not in _LIBRARIES and not _keeps_context(args):
            note(reason)
        return original(*args, **kwargs)

    return watched


def _keeps_context(args: tuple[Any, ...]) -> bool:
    """Say whether what a thread is given runs in a copied context, in which statements are seen."""
    return len(args) > 1 and isinstance(getattr(args[1], "__self__", None), Context)
