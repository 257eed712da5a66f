"""Forked children: other threads are gone there, and what they held is held for ever.

Every lock of the cache is a :class:`Lock` of this module, which is a new one in each child.
Whatever else has to begin anew in a child says so with :func:`call_after_fork`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from weakref import WeakMethod, WeakSet

_callbacks: list[WeakMethod[Callable[[], None]]] = []
_locks: WeakSet[Lock] = WeakSet()


class Lock:
    """A lock among threads that nobody holds in a forked child."""

    __slots__ = ("__weakref__", "_lock")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        _locks.add(self)

    def acquire(self, timeout: float = -1) -> bool:
        """Take the lock, within so many seconds (0: at once or not at all); say whether it was."""
        return self._lock.acquire(blocking=timeout != 0, timeout=timeout or -1)

    def release(self) -> None:
        """Give the lock back; in a child that was forked while it was held, nothing is left to."""
        if self._lock.locked():
            self._lock.release()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def renew(self) -> None:
        """Be a lock that nobody holds."""
        self._lock = threading.Lock()


def call_after_fork(method: Callable[[], None]) -> None:
    """Call the bound method in each child that is forked, for as long as its object lives."""
    _callbacks[:] = [callback for callback in _callbacks if callback() is not None]
    _callbacks.append(WeakMethod(method))


def _in_child() -> None:
    for lock in list(_locks):
        lock.renew()
    for reference in _callbacks:
        callback = reference()
        if callback is not None:
            callback()


os.register_at_fork(after_in_child=_in_child)
