"""The writer's side of the protocol, for one backend: mark before the commit, end after it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from flask_perfkit.cache.entries.dependencies import ANYTHING, rows_token, value_token
from flask_perfkit.cache.entries.texts import fresh
from flask_perfkit.cache.stores.breaker import Breaker, Unavailable
from flask_perfkit.cache.stores.near import Near
from flask_perfkit.cache.stores.tokens import (
    ANY_MOVE,
    TOKEN_SECONDS,
    Backend,
    SeenTokens,
    TableMark,
)
from flask_perfkit.cache.stores.unsent import Unsent
from flask_perfkit.cache.writes.changes import TableChanges, watch


@dataclass
class Mark:
    """A commit under way: what was marked, so that it can be ended."""

    name: str
    tables: list[TableMark]
    unknown: dict[str, list[str]] = field(default_factory=dict)


class Invalidator:
    """Marks and ends tokens for the commits of this process."""

    def __init__(
        self,
        backend: Backend,
        breaker: Breaker,
        unsent: Unsent,
        seen_tokens: SeenTokens,
        near: Near,
    ) -> None:
        self._backend = backend
        self._breaker = breaker
        self._unsent = unsent
        self._seen_tokens = seen_tokens
        self._near = near
        self._moves: dict[str, dict[str, tuple[str, float]]] = {}

    def learn_moves(self, moves: Mapping[tuple[str, str], str]) -> None:
        """Take in the moves of entered columns; an empty one is not known."""
        now = time.monotonic()
        for (table, column), move in moves.items():
            watch(table, column)
            known = self._moves.setdefault(table, {})
            if column not in known or known[column][0] != move:
                known[column] = (move, now)

    def begin(self, changes: Mapping[str, TableChanges], began: float, seconds: float) -> Mark:
        """Mark what these changes of a transaction touch; never raises.

        :param began: when the transaction began; an object is not loaded earlier.
        :param seconds: life of the marks.
        """
        mark = Mark(
            fresh(), [self._table_mark(name, change, began) for name, change in changes.items()]
        )
        self._near.forget(_names(mark))
        try:
            begun = self._breaker.insist(self._backend.begin, mark.name, mark.tables, seconds)
        except Unavailable:
            self._lose(mark)
            mark.unknown = {table.table: [] for table in mark.tables}
            return mark
        for table, found in begun.items():
            if not found.sufficed:
                mark.unknown[table] = list(found.moves)
            for column in found.moves:
                watch(table, column)
            if found.sufficed:
                self.learn_moves({(table, column): move for column, move in found.moves.items()})
        return mark

    def end(self, mark: Mark) -> None:
        """Give what was marked fresh tokens, now that the commit is done; never raises."""
        try:
            tokens, moves = self._breaker.insist(
                self._backend.end, mark.name, mark.tables, mark.unknown
            )
        except Unavailable:
            self._lose(mark)
        else:
            self._seen_tokens.note(tokens.items())
            self.learn_moves(moves)
            self._see_anything()
        self._near.forget(_names(mark))

    def drop(self, tables: Iterable[str], values: Mapping[str, tuple[str, ...]]) -> None:
        """Drop at once what depends on the tables, or on some values of others.

        :param values: value tokens by table.
        """
        marks = [TableMark(table) for table in tables]
        unknown: dict[str, list[str]] = {mark.table: [] for mark in marks}
        marks += [
            TableMark(table, values=names)
            for table, names in values.items()
            if table not in unknown
        ]
        self.end(Mark(fresh(), marks, unknown))

    def _see_anything(self) -> None:
        """Know the token on which all depends from the first commit on, as those of its tables."""
        if self._seen_tokens.knows(ANYTHING):
            return
        found = self._breaker.attempt(self._backend.read, (), (ANYTHING,))
        if found is not None and found[1] != [None]:
            self._seen_tokens.note([(ANYTHING, found[1][0])])
        elif found is not None:
            life = TOKEN_SECONDS
            prepared = self._breaker.attempt(self._backend.prepare, (ANYTHING,), (), life, None)
            if prepared is not None:
                self._seen_tokens.note(prepared.tokens.items())

    def _lose(self, mark: Mark) -> None:
        self._unsent.add_mark(mark.name, (table.table for table in mark.tables))
        if not self._breaker.open:  # closed since we were refused: nobody else will send it
            self._breaker.attempt(self._unsent.send)

    def _table_mark(self, table: str, change: TableChanges, began: float) -> TableMark:
        believes = {}
        values: list[str] = []
        for column, (move, since) in list(self._moves.get(table, {}).items()):
            if not change.complete(column):
                continue
            if column not in change.loaded:
                believes[column] = ANY_MOVE
            elif move and since <= began:
                believes[column] = move
            else:
                continue
            values += [value_token(table, column, text) for text in change.values.get(column, ())]
        return TableMark(table, believes, tuple(values), tuple(change.moved))


def _names(mark: Mark) -> list[str]:
    names = [name for table in mark.tables for name in (table.table, *table.values)]
    return names + [rows_token(table) for table in mark.unknown]
