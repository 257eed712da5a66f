"""Rows of doubles in one buffer, each found by its key.

The buffer is a chain of blocks: its length in doubles, the length of the key in bytes, the key,
the cells. The length of a block is written last, so that a reader in another process sees it
whole or not at all. The first block's key is the layout.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from contextlib import suppress
from mmap import mmap
from typing import Any, Protocol

from flask_perfkit.metrics.store.layout import Layout

if sys.platform != "win32":
    from mmap import MAP_ANONYMOUS, MAP_PRIVATE

_MAGIC = b"PERFKIT2"
_DOUBLE = 8
_HEAD = 2 * _DOUBLE
_FIRST_SIZE = 32 * 1024
LARGEST = 16 * 1024 * 1024
"""Bytes that one process may fill."""


class Backing(Protocol):
    """Where the doubles lie."""

    def grown(self, size: int) -> memoryview:
        """Return all bytes so far and zeros up to ``size``, writable.

        :raises OSError: there is no room.
        """

    def close(self) -> None:
        """Let go of it."""


class Memory:
    """Doubles that only this process sees; pages that nobody touched cost nothing."""

    def __init__(self) -> None:
        private = {} if sys.platform == "win32" else {"flags": MAP_PRIVATE | MAP_ANONYMOUS}
        self._map = mmap(-1, LARGEST, **private)

    def grown(self, size: int) -> memoryview:
        """Return more of the same bytes."""
        return memoryview(self._map)[:size]

    def close(self) -> None:
        """Let go of the pages."""
        with suppress(BufferError):  # somebody still looks at them
            self._map.close()


class Rows:
    """Rows that are added to; the caller holds a lock.

    A row stays where it is when the buffer grows: it may be kept.

    :raises OSError: there is no room.
    """

    def __init__(self, backing: Backing, layout: Layout) -> None:
        self._backing = backing
        self._bytes = backing.grown(_FIRST_SIZE)
        self._given: list[memoryview[Any]] = [self._bytes]
        self._bytes[:_DOUBLE] = _MAGIC
        self._end = _DOUBLE
        self.append(layout.to_json(), 0)

    def append(self, key: str, width: int) -> memoryview[float]:
        """Add a row of zeros and return its cells.

        :raises OSError: there is no room.
        """
        name = key.encode("utf-8", "replace")
        padded = -len(name) % _DOUBLE + len(name)
        length = _HEAD + padded + width * _DOUBLE
        while self._end + length + _DOUBLE > len(self._bytes):
            self._grow()
        start = self._end
        first = start + _HEAD + padded
        struct.pack_into("d", self._bytes, start + _DOUBLE, len(name))
        self._bytes[start + _HEAD : start + _HEAD + len(name)] = name
        struct.pack_into("d", self._bytes, start, length // _DOUBLE)
        self._end += length
        row = self._bytes[first : first + width * _DOUBLE].cast("d")
        self._given.append(row)
        return row

    def to_bytes(self) -> bytes:
        """Return a copy of all that is used."""
        return bytes(self._bytes[: self._end])

    def close(self) -> None:
        """Let go of the buffer; its rows cannot be used any more."""
        for view in reversed(self._given):
            view.release()
        self._backing.close()

    def _grow(self) -> None:
        if len(self._bytes) >= LARGEST:
            raise OSError(f"more than {LARGEST} bytes of figures")
        self._bytes = self._backing.grown(2 * len(self._bytes))
        self._given.append(self._bytes)


def read_rows(data: bytes) -> tuple[Layout, Iterator[tuple[str, int, list[float]]]]:
    """Return the layout and each row: its key, its place, a copy of its cells.

    :raises ValueError: this is not what :class:`Rows` wrote; the iterator may raise it too.
    """
    if data[:_DOUBLE] != _MAGIC:
        raise ValueError("no rows of figures")
    blocks = _blocks(data)
    head = next(blocks, None)
    if head is None:
        raise ValueError("no layout")
    return Layout.from_json(head[0]), blocks


def _blocks(data: bytes) -> Iterator[tuple[str, int, list[float]]]:
    start = _DOUBLE
    while start + _HEAD <= len(data):
        lengths = struct.unpack_from("2d", data, start)
        if lengths[0] == 0:
            return
        if not all(0 <= length <= len(data) for length in lengths):
            raise ValueError(f"no row at byte {start}")
        length, size = map(int, lengths)
        end, cells = start + length * _DOUBLE, start + _HEAD + size + -size % _DOUBLE
        if not start < cells <= end <= len(data):
            raise ValueError(f"no row at byte {start}")
        key = data[start + _HEAD : start + _HEAD + size].decode()
        yield key, cells // _DOUBLE, list(struct.unpack_from(f"{(end - cells) // 8}d", data, cells))
        start = end
