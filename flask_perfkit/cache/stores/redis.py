"""Values, tokens and locks in Redis or Valkey, version 6 or later.

Keys: ``perfkit:v:<key>`` is a value, ``perfkit:l:<key>`` a lock, ``perfkit:{t}:<name>`` a
token. The braces keep all tokens in one slot of a cluster, so that a commit marks them in one
script. A token is a string; while writers are at work it is a sorted set of their marks, each
with its deadline, which MGET reports as missing. The rows token's string is followed by the
columns that were entered, each with its move: ``3f9c… user_id=81d0…``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from flask_perfkit.cache.entries.dependencies import rows_token
from flask_perfkit.cache.entries.texts import fresh
from flask_perfkit.cache.stores.scripts import BEGIN, END, PREPARE, UNLOCK
from flask_perfkit.cache.stores.tokens import (
    ANY_MOVE,
    FRESH_TOKEN_SECONDS,
    Begun,
    Prepared,
    PushSource,
    TableMark,
)
from flask_perfkit.recording.recorder import unrecorded

GONE = "~"
"""Begins the name under the tokens' prefix that pushes an entry's key; alone it means all."""

_BATCH = 500


class RedisBackend:
    """The backend on one Redis server or a Sentinel group.

    :param client: a ``redis.Redis`` that returns bytes.
    :param epoch: returns the run id of the server that the tokens are on.
    """

    shared = True

    def __init__(self, client: Any, epoch: Callable[[], str], namespace: str = "perfkit") -> None:
        self._client = client
        self._epoch = epoch
        self._values = f"{namespace}:v:"
        self._locks = f"{namespace}:l:"
        self.token_prefix = f"{namespace}:{{t}}:"

    @property
    def epoch(self) -> str:
        return self._epoch()

    def ask_epoch(self) -> str:
        if not self._epoch():
            self.ping()
        return self._epoch()

    def read(
        self, keys: Sequence[str], names: Sequence[str]
    ) -> tuple[list[bytes | None], list[str | None]]:
        values, tokens = self._fetch(
            [self._values + key for key in keys], [self.token_prefix + name for name in names]
        )
        return values, [None if token is None else _first_word(token) for token in tokens]

    def prepare(
        self,
        names: Sequence[str],
        columns: Sequence[tuple[str, str]],
        seconds: float,
        lock: tuple[str, str, float] | None,
    ) -> Prepared:
        task = {
            "milliseconds": int(seconds * 1000),
            "fresh": fresh(),
            "names": len(names),
            "columns": [column for _, column in columns],
            "rows": [names.index(rows_token(table)) + 1 for table, _ in columns],
        }
        keys = [*names]
        for table, column in columns:
            keys += [table, rows_token(table), _movers(table, column)]
        epoch = self.ask_epoch()
        commands: list[tuple[Any, ...]] = []
        if lock is not None:
            key, owner, held = lock
            commands.append(("SET", self._locks + key, owner, "NX", "PX", int(held * 1000)))
            commands.append(("EXISTS", self._values + key))
        if names:
            commands.append(self._script(PREPARE, keys, task))
        answers = self._trip(commands)
        tokens, tables, moves = answers.pop() if names else ([], [], [])
        locked, stored = map(bool, answers or (False, False))
        return Prepared(
            epoch=epoch,
            tokens={
                name: None if token is None else _first_word(token)
                for name, token in zip(names, tokens, strict=True)
            },
            tables={
                table: None if token is None else token.decode()
                for (table, _), token in zip(columns, tables, strict=True)
            },
            moves={
                column: move.decode()
                for column, move in zip(columns, moves, strict=True)
                if move is not None
            },
            locked=locked,
            stored=locked and stored,
        )

    def store(self, key: str, payload: bytes, seconds: float, owner: str | None) -> None:
        commands: list[tuple[Any, ...]] = [self._set(key, payload, seconds)]
        if owner is not None:
            commands.append(self._unlock(key, owner))
        self._trip(commands)

    def replace(self, key: str, payload: bytes, seconds: float) -> None:
        self._trip([self._set(key, payload, seconds), self._push(key)])

    def unlock(self, key: str, owner: str) -> None:
        self._trip([self._unlock(key, owner)])

    def delete(self, keys: Sequence[str]) -> int:
        dropped = [("UNLINK", self._values + key) for key in keys]
        return sum(self._trip([*dropped, *map(self._push, keys)])[: len(dropped)])

    def delete_matching(self, pattern: str) -> int:
        with unrecorded():
            found = self._client.scan_iter(match=_escaped(self._values) + pattern, count=_BATCH)
            dropped = sum(
                sum(self._trip([("UNLINK", key) for key in batch])) for batch in _batches(found)
            )
        self._trip([self._push("")])
        return dropped

    def begin(self, mark: str, tables: Sequence[TableMark], seconds: float) -> dict[str, Begun]:
        keys: list[str] = []
        for table in tables:
            keys += [table.table, rows_token(table.table), *table.values]
            keys += [_movers(table.table, column) for column in _mentioned(table)]
        task = {
            "mark": mark,
            "milliseconds": int(seconds * 1000),
            "fresh": fresh(),
            "any": ANY_MOVE,
            "tables": [
                {
                    "values": len(table.values),
                    "columns": _mentioned(table),
                    "believes": dict(table.believes),
                    "moved": table.moved,
                }
                for table in tables
            ],
        }
        (answers,) = self._trip([self._script(BEGIN, keys, task)])
        return {
            table.table: Begun(answer[0] == 1, _pairs(answer[1:]))
            for table, answer in zip(tables, answers, strict=True)
        }

    def end(
        self, mark: str, tables: Sequence[TableMark], unknown: Mapping[str, Sequence[str]]
    ) -> tuple[dict[str, str], dict[tuple[str, str], str]]:
        names = [name for table in tables for name in (table.table, *table.values)]
        names += [rows_token(table) for table in unknown]
        moved = [(table.table, column) for table in tables for column in table.moved]
        keys = [*names]
        for table, column in moved:
            keys += [rows_token(table), _movers(table, column)]
        token = fresh()
        task = {
            "mark": mark,
            "milliseconds": int(FRESH_TOKEN_SECONDS * 1000),
            "fresh": token,
            "tokens": len(names) - len(unknown),
            "unknown": [list(columns) for columns in unknown.values()],
            "moved": [column for _, column in moved],
        }
        ((ended, entered),) = self._trip([self._script(END, keys, task)])
        tokens = {name: token for name, done in zip(names, ended, strict=True) if done}
        moves = {column: token for column, done in zip(moved, entered, strict=True) if done}
        for table, columns in unknown.items():
            if rows_token(table) in tokens:
                moves |= {(table, column): token for column in columns}
        return tokens, moves

    def open_pushes(self) -> PushSource:
        return PushSource(self._open_connection, self.token_prefix, GONE)

    def ping(self) -> None:
        self._trip([("EVAL", "return 1", 1, self.token_prefix)])

    def _open_connection(self) -> Any:
        return _resp3_connection(self._client.connection_pool)

    def _set(self, key: str, payload: bytes, seconds: float) -> tuple[Any, ...]:
        return ("SET", self._values + key, payload, "PX", max(1, int(seconds * 1000)))

    def _unlock(self, key: str, owner: str) -> tuple[Any, ...]:
        return ("EVAL", UNLOCK, 1, self._locks + key, owner)

    def _push(self, key: str) -> tuple[Any, ...]:
        """Make the server push that an entry is gone: a token of its name, gone at once."""
        return ("SET", f"{self.token_prefix}{GONE}{key}", "", "PX", 1)

    def _fetch(self, keys: list[str], names: list[str]) -> tuple[list[bytes | None], list[Any]]:
        # Without the client's layers around it: they cost a fifth of the trip.
        pool = self._client.connection_pool
        with unrecorded():
            connection = pool.get_connection()
            try:
                connection.send_command("MGET", *keys, *names)
                answer = connection.read_response()
            except BaseException:
                connection.disconnect()  # or the next one on it would get this one's answer
                raise
            finally:
                pool.release(connection)
        return answer[: len(keys)], answer[len(keys) :]

    def _script(self, lua: str, names: Sequence[str], task: dict[str, Any]) -> tuple[Any, ...]:
        keys = [self.token_prefix + name for name in names]
        return ("EVAL", lua, len(keys), *keys, json.dumps(task))

    def _trip(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        with unrecorded():
            if len(commands) == 1:
                return [self._client.execute_command(*commands[0])]
            pipeline = self._client.pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command)
            answers: list[Any] = pipeline.execute()
            return answers


class ClusterBackend(RedisBackend):
    """The backend on a Redis Cluster, where a trip may touch only one slot."""

    def _fetch(self, keys: list[str], names: list[str]) -> tuple[list[bytes | None], list[Any]]:
        with unrecorded():
            tokens = self._client.execute_command("MGET", *names) if names else []
            return [self._client.execute_command("GET", key) for key in keys], tokens

    def _open_connection(self) -> Any:
        node = self._client.get_node_from_key(self.token_prefix)
        return _resp3_connection(self._client.get_redis_connection(node).connection_pool)

    def _trip(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        with unrecorded():
            return [self._client.execute_command(*command) for command in commands]


def _resp3_connection(pool: Any) -> Any:
    return pool.connection_class(**{**pool.connection_kwargs, "protocol": 3})


def _first_word(token: bytes) -> str:
    return token.decode("ascii", "replace").partition(" ")[0]


def _movers(table: str, column: str) -> str:
    return f"{table}.{column}!"


def _mentioned(table: TableMark) -> list[str]:
    return sorted({*table.believes, *table.moved})


def _pairs(answer: list[bytes]) -> dict[str, str]:
    words = [word.decode() for word in answer]
    return dict(zip(words[::2], words[1::2], strict=True))


def _escaped(prefix: str) -> str:
    return "".join(f"\\{letter}" if letter in "*?[]\\" else letter for letter in prefix)


def _batches(keys: Iterator[bytes]) -> Iterator[list[bytes]]:
    while batch := list(islice(keys, _BATCH)):
        yield batch
