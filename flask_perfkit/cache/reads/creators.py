"""What a creator was seen to read: tables with their tokens, and how old that may be."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextvars import ContextVar

from flask_perfkit.cache.entries.dependencies import ANYTHING, own_tables
from flask_perfkit.cache.reads.sessions import HeldObjects

NOTHING_READ = (
    "it was not seen to read anything; depends_on=[...] names its tables, depends_on=[] says that "
    "there are none"
)

running: ContextVar[CreatorRun | None] = ContextVar("flask_perfkit_reading", default=None)
"""The creator that runs in this context, the innermost one."""


class CreatorRun:
    """One run of a creator.

    ``tokens`` holds what was current before the first read of each table (None: pending);
    ``snapshot`` is the age of the oldest thing read (``time.monotonic()``; infinity: nothing
    older than the tokens). ``refusal`` says why the value must not be stored just now;
    ``untold`` why it never can be, which the user has to know.

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
        self.untold: str | None = None
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

    def tell_not(self, reason: str) -> None:
        """Keep the value from being stored, for a reason that the user is told."""
        self.untold = self.untold or reason

    def reads_unseen(self, reason: str) -> None:
        """Take in that it reads what cannot be told; declared dependencies make that good."""
        self._saw_statement = True
        if self._learning is not None:
            self.tell_not(reason)

    def statement(self, tables: Collection[str], *, opaque: str, snapshot: float) -> None:
        """Take in a statement that is about to be executed.

        :param opaque: why it reads tables that cannot be told, if it does.
        :param snapshot: how old what it returns may be.
        """
        self._saw_statement = True
        self.snapshot = min(self.snapshot, snapshot)
        if opaque:
            self.reads_unseen(opaque)
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
            if self.untold is not None and self._parent._learning is not None:
                self._parent.tell_not(self.untold)
            if self.refusal is not None:
                self._parent.refuse(self.refusal)

    def _learn(self, tables: Collection[str]) -> None:
        if self._learning is None:
            return
        names = {*tables, ANYTHING} if tables else set()
        self.learned.update(names)
        missing = [name for name in names if name not in self.tokens]
        if missing:
            self.tokens.update(self._learning(missing))


def refuse(reason: str) -> None:
    """Keep the value that is made in this context from being stored, and tell the user why."""
    run = running.get()
    if run is not None:
        run.tell_not(reason)


def note_unseen(reason: str) -> None:
    """Tell the creator of this context, if there is one, that it reads what cannot be seen."""
    run = running.get()
    if run is not None:
        run.reads_unseen(reason)


def include(tokens: Mapping[str, str | None]) -> None:
    """Tell the creator of this context, if there is one, of another entry that it read."""
    run = running.get()
    if run is not None:
        run.include(tokens)
