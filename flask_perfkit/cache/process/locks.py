"""A lock for each key among threads and tasks, so that one creator runs at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from flask_perfkit.cache.process.fork import Lock, call_after_fork

LOCK_SECONDS = 5.0
"""Life of a lock. A killed owner costs the next reader that long; a creator that takes
longer is joined by another one."""


class KeyLock(Lock):
    """The lock of one key, while somebody holds it or waits for it.

    ``fruitless``: the last holder's value could not be stored, so waiting brings nothing.
    """

    __slots__ = ("fruitless", "users")

    def __init__(self) -> None:
        super().__init__()
        self.fruitless = False
        self.users = 0


class KeyLocks:
    """The locks of the keys whose values are being made in this process."""

    def __init__(self) -> None:
        self._guard = Lock()
        self._locks: dict[str, KeyLock] = {}
        call_after_fork(self._after_fork)

    @contextmanager
    def of(self, key: str) -> Iterator[KeyLock]:
        """Yield the key's lock, which is the same for all that use it at one time."""
        with self._guard:
            lock = self._locks.setdefault(key, KeyLock())
            lock.users += 1
        try:
            yield lock
        finally:
            with self._guard:
                lock.users -= 1
                if not lock.users and self._locks.get(key) is lock:
                    del self._locks[key]

    def _after_fork(self) -> None:
        self._locks = {}
