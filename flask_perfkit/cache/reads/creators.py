"""What a creator was seen to read: tables with their tokens, and how old that may be."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar

from flask_perfkit.cache.entries.dependencies import own_tables
from flask_perfkit.cache.reads.sessions import HeldObjects

running: ContextVar[CreatorRun | None] = ContextVar("flask_perfkit_reading", default=None)
"""The creator that runs in this context, the innermost one."""


class CreatorRun:
    """One run of a creator.

    ``tokens`` holds what was current before the first read of each table (None: pending);
    ``snapshot`` is the age of the oldest thing read (``time.monotonic()``; infinity: nothing
    older than the tokens). ``refusal`` says why the value must not be stored; ``unlearned``
    that it read tables which could not be told.

    :param learning: fetches the tokens of tables that are read for the first time; None where
        the dependencies were declared.
    """

    def __init__(
        self,
        key: str,
        tokens: Mapping[str, str | None],
        learning: Callable[[list[str]], Mapping[str, str | None]] | None,
        parent: CreatorRun | None,
    ) -> None:
        self.key = key
        self.tokens = dict(tokens)
        self.snapshot = float("inf")
        self.refusal: str | None = None
        self.unlearned = False
        self.learned: set[str] = set()
        self.held = HeldObjects()
        self._learning = learning
        self._parent = parent
        self._saw_statement = False

    def makes(self, key: str) -> bool:
        """Say whether this run, or one around it, makes the value of this key."""
        return self.key == key or (self._parent is not None and self._parent.makes(key))

    def refuse(self, reason: str) -> None:
        """Keep the value from being stored; the first reason stands."""
        self.refusal = self.refusal or reason

    def statement(self, tables: Iterable[str], *, opaque: bool, snapshot: float) -> None:
        """Take in a statement that is about to be executed.

        :param opaque: it reads tables that cannot be told.
        :param snapshot: how old what it returns may be.
        """
        self._saw_statement = True
        self.snapshot = min(self.snapshot, snapshot)
        self.unlearned |= opaque and self._learning is not None
        self._learn(tables)

    def include(self, tokens: Mapping[str, str | None]) -> None:
        """Take in the tokens of another entry that the creator read."""
        self._saw_statement = True
        if self._learning is not None:
            self.learned.update(tokens)
            for name, token in tokens.items():
                if token is None or name not in self.tokens:
                    self.tokens[name] = token

    def finish(self) -> None:
        """Take in the objects that were come upon, and hand on to the creator around."""
        if not self._saw_statement and not self.held.used:
            self.held.assume_all()
        for table, loaded in self.held.used.items():
            if self._learning is not None or table in own_tables(tuple(self.tokens)):
                self.snapshot = min(self.snapshot, loaded)
        self._learn(self.held.used)
        if self._parent is not None:
            self._parent.snapshot = min(self._parent.snapshot, self.snapshot)
            self._parent.unlearned |= self.unlearned and self._parent._learning is not None
            if self.refusal is not None:
                self._parent.refuse(self.refusal)

    def _learn(self, tables: Iterable[str]) -> None:
        if self._learning is None:
            return
        self.learned.update(tables)
        missing = [table for table in tables if table not in self.tokens]
        if missing:
            self.tokens.update(self._learning(missing))


def include(tokens: Mapping[str, str | None]) -> None:
    """Tell the creator of this context, if there is one, of another entry that it read."""
    run = running.get()
    if run is not None:
        run.include(tokens)
