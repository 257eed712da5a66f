"""What could not be sent to the backend, kept until it can be reached again."""

from __future__ import annotations

from collections.abc import Iterable

from flask_perfkit.cache.entries.texts import fresh
from flask_perfkit.cache.process.fork import Lock
from flask_perfkit.cache.stores.tokens import Backend, TableMark

_MOST_KEPT = 500


class Unsent:
    """The commits that a backend was not told of, and the locks that it may still hold.

    A server that was frozen does what it was told once it goes on, so the marks and locks of
    the time before are taken back by their names. Until all is sent the cache of this process
    is not used. Other processes may read older values meanwhile, at most for an entry's life.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._lock = Lock()
        self._marks: dict[str, tuple[str, ...]] = {}
        self._held: dict[str, str] = {}

    def add_mark(self, mark: str, tables: Iterable[str]) -> None:
        """Keep the tables of a commit, under the name of its mark."""
        with self._lock:
            self._marks[mark] = tuple(tables)
            if len(self._marks) > _MOST_KEPT:
                together = {table for tables in self._marks.values() for table in tables}
                self._marks = {fresh(): tuple(together)}

    def add_lock(self, key: str, owner: str) -> None:
        """Keep a lock that nobody will give back."""
        with self._lock:
            if len(self._held) < _MOST_KEPT:
                self._held[owner] = key

    def has_marks(self) -> bool:
        """Say whether there are commits to be told."""
        return bool(self._marks)

    def send(self) -> None:
        """Reach the backend and send what is kept; raises while that fails."""
        self._backend.ping()
        with self._lock:
            marks, held = dict(self._marks), dict(self._held)
        for mark, tables in marks.items():
            ended = [TableMark(table) for table in tables]
            self._backend.end(mark, ended, {table: [] for table in tables})
        for owner, key in held.items():
            self._backend.unlock(key, owner)
        with self._lock:
            for mark in marks:
                self._marks.pop(mark, None)
            for owner in held:
                self._held.pop(owner, None)
