"""A lock for each key among the threads of this process, so that one creator runs at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from flask_perfkit.cache.process.fork import call_after_fork

LOCK_SECONDS = 5.0
"""Life of a lock. A killed owner costs the next reader that long; a creator that takes
longer is joined by another one."""


class KeyLock:
    """The lock of one key, while threads hold it or wait for it.

    ``fruitless``: the last holder's value could not be stored, so waiting brings nothing.
    """

    def __init__(self) -> None:
        self.fruitless = False
        self.users = 0
        self.lock = threading.Lock()


class KeyLocks:
    """The locks of the keys whose values are being made in this process."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._locks: dict[str, KeyLock] = {}
        call_after_fork(self._after_fork)

    @contextmanager
    def hold(self, key: str, *, wait: bool) -> Iterator[tuple[KeyLock | None, bool]]:
        """Hold the key's lock; yield it, and whether others were waited for.

        None in its place: it was not got, within the life of a lock or at once (``wait``).
        """
        with self._guard:
            lock = self._locks.setdefault(key, KeyLock())
            lock.users += 1
        at_once = lock.lock.acquire(blocking=False)
        got = at_once or (wait and lock.lock.acquire(timeout=LOCK_SECONDS))
        try:
            yield (lock if got else None), not at_once
        finally:
            if got:
                lock.lock.release()
            with self._guard:
                lock.users -= 1
                if not lock.users:
                    self._locks.pop(key, None)

    def _after_fork(self) -> None:
        self._guard = threading.Lock()
        self._locks = {}
