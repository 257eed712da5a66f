"""Values, tokens and locks in this process: for one process, and for development."""

from __future__ import annotations

import sys
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from flask_perfkit.cache.entries.dependencies import rows_token
from flask_perfkit.cache.entries.texts import fresh
from flask_perfkit.cache.process.fork import Lock
from flask_perfkit.cache.stores.globs import matches
from flask_perfkit.cache.stores.tokens import ANY_MOVE, Begun, Prepared, TableMark

_MOST_TOKENS = 100_000
_ENTRY_BYTES = 250
"""What an entry takes beside key and payload: its place in the dict, a tuple, a float."""


@dataclass
class _Token:
    """A token: its value unless writers are at work, their marks with deadlines, its moves."""

    value: str | None = None
    marks: dict[str, float] = field(default_factory=dict)
    moves: dict[str, str] = field(default_factory=dict)

    def pending(self, now: float) -> bool:
        if self.marks:
            self.marks = {mark: until for mark, until in self.marks.items() if until > now}
        return bool(self.marks)


class MemoryBackend:
    """The backend without a server.

    :param limit: bytes that the entries may take with their keys; the longest unused go first.
    """

    shared = False
    epoch = "memory"

    def __init__(self, limit: int = 64 * 2**20) -> None:
        self._limit = limit
        self._size = 0
        self._lock = Lock()
        self._entries: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
        self._tokens: dict[str, _Token] = {}
        self._movers: dict[tuple[str, str], dict[str, float]] = {}
        self._locks: dict[str, tuple[str, float]] = {}

    def ask_epoch(self) -> str:
        return self.epoch

    def read(
        self, keys: Sequence[str], names: Sequence[str]
    ) -> tuple[list[bytes | None], list[str | None]]:
        now = time.monotonic()
        with self._lock:
            return [self._payload(key, now) for key in keys], [
                self._value(name, now) for name in names
            ]

    def prepare(
        self,
        names: Sequence[str],
        columns: Sequence[tuple[str, str]],
        seconds: float,
        lock: tuple[str, str, float] | None,
    ) -> Prepared:
        now = time.monotonic()
        with self._lock:
            if len(self._tokens) > _MOST_TOKENS:
                self._tokens = {name: token for name, token in self._tokens.items() if token.marks}
            tokens = {name: self._made(name, now) for name in names}
            tables = {table: self._made(table, now) for table, _ in columns}
            moves: dict[tuple[str, str], str] = {}
            for table, column in columns:
                entered = self._tokens[rows_token(table)]
                if column not in entered.moves and tables[table] is None:
                    tokens[rows_token(table)] = None
                elif not entered.marks:
                    moves[table, column] = entered.moves.setdefault(column, fresh())
            locked = lock is not None and self._try_lock(*lock, now)
            stored = locked and lock is not None and lock[0] in self._entries
            return Prepared(self.epoch, tokens, tables, moves, locked, stored)

    def store(self, key: str, payload: bytes, seconds: float, owner: str | None) -> None:
        self.replace(key, payload, seconds)
        if owner is not None:
            self.unlock(key, owner)

    def replace(self, key: str, payload: bytes, seconds: float) -> None:
        with self._lock:
            self._drop(key)
            self._entries[key] = (payload, time.monotonic() + seconds)
            self._size += _held(key, payload)
            while self._size > self._limit:
                self._drop(next(iter(self._entries)))

    def unlock(self, key: str, owner: str) -> None:
        with self._lock:
            if self._locks.get(key, ("", 0.0))[0] == owner:
                del self._locks[key]

    def delete(self, keys: Sequence[str]) -> int:
        with self._lock:
            return sum(self._drop(key) for key in keys)

    def delete_matching(self, pattern: str) -> int:
        with self._lock:
            keys = list(self._entries)
        return self.delete([key for key in keys if matches(pattern, key)])

    def begin(self, mark: str, tables: Sequence[TableMark], seconds: float) -> dict[str, Begun]:
        now = time.monotonic()
        with self._lock:
            return {table.table: self._begin(mark, table, now, now + seconds) for table in tables}

    def end(
        self, mark: str, tables: Sequence[TableMark], unknown: Mapping[str, Sequence[str]]
    ) -> tuple[dict[str, str], dict[tuple[str, str], str]]:
        now = time.monotonic()
        tokens: dict[str, str] = {}
        moves: dict[tuple[str, str], str] = {}
        with self._lock:
            for table in tables:
                for name in (table.table, *table.values):
                    token = self._unmarked(name, mark, now)
                    if token is not None:
                        tokens[name] = token.value = fresh()
                if table.table in unknown:
                    rows = self._unmarked(rows_token(table.table), mark, now)
                    if rows is not None:
                        rows.value = fresh()
                        rows.moves = {column: fresh() for column in unknown[table.table]}
                        moves |= {
                            (table.table, column): move for column, move in rows.moves.items()
                        }
                self._end_moves(table, mark, moves, now)
        return tokens, moves

    def open_pushes(self) -> None:
        """There is no server that could push."""

    def ping(self) -> None:
        """Nothing can fail here."""

    def _payload(self, key: str, now: float) -> bytes | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry[1] <= now:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def _drop(self, key: str) -> bool:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._size -= _held(key, entry[0])
        return entry is not None

    def _value(self, name: str, now: float) -> str | None:
        token = self._tokens.get(name)
        return None if token is None or token.pending(now) else token.value

    def _made(self, name: str, now: float) -> str | None:
        token = self._tokens.setdefault(name, _Token())
        if token.pending(now):
            return None
        if token.value is None:
            token.value = fresh()
        return token.value

    def _try_lock(self, key: str, owner: str, seconds: float, now: float) -> bool:
        holder = self._locks.get(key)
        if holder is not None and holder[1] > now:
            return False
        self._locks[key] = (owner, now + seconds)
        return True

    def _begin(self, mark: str, table: TableMark, now: float, until: float) -> Begun:
        self._mark(table.table, mark, until)
        rows = self._tokens.get(rows_token(table.table)) or _Token()
        pending = rows.pending(now)
        moves = dict(rows.moves)
        if pending or not all(
            self._believed(table, column, move, now) for column, move in moves.items()
        ):
            self._mark(rows_token(table.table), mark, until)
            return Begun(False, moves)
        for name in table.values:
            self._mark(name, mark, until)
        for column in table.moved:
            if column in moves:
                rows.moves[column] = fresh()
                self._movers.setdefault((table.table, column), {})[mark] = until
        return Begun(
            True,
            {
                column: "" if self._moving(table.table, column, now) else move
                for column, move in moves.items()
            },
        )

    def _believed(self, table: TableMark, column: str, move: str, now: float) -> bool:
        belief = table.believes.get(column)
        return belief == ANY_MOVE or (belief == move and not self._moving(table.table, column, now))

    def _moving(self, table: str, column: str, now: float) -> bool:
        movers = self._movers.get((table, column), {})
        return any(until > now for until in movers.values())

    def _end_moves(
        self, table: TableMark, mark: str, moves: dict[tuple[str, str], str], now: float
    ) -> None:
        rows = self._tokens.get(rows_token(table.table)) or _Token()
        for column in table.moved:
            self._movers.get((table.table, column), {}).pop(mark, None)
            if column in rows.moves:
                rows.moves[column] = fresh()
                if not self._moving(table.table, column, now):
                    moves[table.table, column] = rows.moves[column]

    def _mark(self, name: str, mark: str, until: float) -> None:
        token = self._tokens.setdefault(name, _Token())
        token.value = None
        token.moves.clear()
        token.marks[mark] = until

    def _unmarked(self, name: str, mark: str, now: float) -> _Token | None:
        """Take our mark away; return the token unless another writer's mark remains."""
        token = self._tokens.setdefault(name, _Token())
        token.marks.pop(mark, None)
        token.value = None
        token.moves.clear()
        return None if token.pending(now) else token


def _held(key: str, payload: bytes) -> int:
    """Count the bytes that an entry takes in the process."""
    return sys.getsizeof(key) + sys.getsizeof(payload) + _ENTRY_BYTES
