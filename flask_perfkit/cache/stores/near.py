"""Entries kept in this process too, good for as long as the server pushes what has changed.

Each token has an epoch here, a number that changes whenever the token may have changed: as
the server pushed, or by a commit of this process itself, before and after it. An entry holds
the epochs that its tokens had before it was fetched.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count
from sys import getsizeof

_MOST_EPOCHS = 100_000
_ENTRY_BYTES = 350
"""What an entry takes beside its texts: its place in the dict, its fields, three tuples."""

_TOKEN_BYTES = 100
"""What a token takes: its text, its place in two tuples, and a number."""


@dataclass(slots=True)
class NearEntry:
    """An entry that was good when it was fetched; ``version`` is the last it was checked at."""

    names: tuple[str, ...]
    tokens: tuple[str, ...]
    text: str
    tagged: bool
    expires: float
    epochs: tuple[int, ...] = ()
    version: int = 0


class Near:
    """The near-cache of one backend.

    Nothing is returned unless the pushes are alive: whoever listens to them moves
    ``alive_until`` on (``time.monotonic()``).

    :param limit: bytes that the entries may take, with their keys, names and tokens; the oldest
        go first.
    """

    def __init__(self, limit: int = 16 * 2**20) -> None:
        self.alive_until = 0.0
        self.version = 0
        self._limit = limit
        self._size = 0
        self._ticks = count(1)
        self._entries: dict[str, NearEntry] = {}
        self._epochs: dict[str, int] = {}

    def get(self, key: str) -> NearEntry | None:
        """Return the entry if it is surely as good as it was when it was fetched."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        now = time.monotonic()
        if now >= self.alive_until or now >= entry.expires:
            return None
        if entry.version != self.version:
            version = self.version
            if entry.epochs != self._epochs_of(entry.names):
                return None
            entry.version = version
        return entry

    def keep(self, key: str, entry: NearEntry, version: int) -> None:
        """Keep an entry that was fetched while ``version`` was the current one."""
        if time.monotonic() >= self.alive_until:
            return
        entry.epochs = self._epochs_of(entry.names)
        entry.version = version
        if version != self.version:
            return
        self._discard(key)
        self._entries[key] = entry
        self._size += _held(key, entry)
        while self._size > self._limit:
            self._discard(next(iter(self._entries)))

    def forget(self, names: Iterable[str]) -> None:
        """Drop what depends on these tokens."""
        if len(self._epochs) > _MOST_EPOCHS:
            self.forget_all()
        for name in names:
            self._epochs[name] = next(self._ticks)
        self.version = next(self._ticks)

    def drop(self, key: str) -> None:
        """Drop one entry, that which is being fetched included."""
        self.version = next(self._ticks)
        self._discard(key)

    def forget_all(self) -> None:
        """Drop everything."""
        self.version = next(self._ticks)
        self._entries = {}
        self._epochs = {}
        self._size = 0

    def _epochs_of(self, names: tuple[str, ...]) -> tuple[int, ...]:
        return tuple([self._epochs.get(name, 0) for name in names])

    def _discard(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._size -= _held(key, entry)


def _held(key: str, entry: NearEntry) -> int:
    """Count the bytes that an entry takes in the process."""
    names = sum(map(getsizeof, entry.names)) + _TOKEN_BYTES * len(entry.tokens)
    return getsizeof(key) + getsizeof(entry.text) + names + _ENTRY_BYTES
