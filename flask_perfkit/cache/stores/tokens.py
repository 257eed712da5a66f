"""The protocol that keeps every reader at least as young as the last commit.

Each table, and each column value that something depends on, has a token in the backend: a
random text that never comes back. A value is stored together with the tokens that were read
*before* its creator ran, and is good for as long as they are the current ones.

* A reader fetches value and tokens in one trip. Any token missing, changed or pending: a miss.
* On a miss missing tokens are made, *then* the creator runs, and its value is stored under
  the tokens read before. If a commit came in between they are no longer current, so a late
  store is harmless: no lock and no compare-and-set is needed for that.
* A writer marks the tokens pending *before* the driver commits and gives them fresh values
  after it. Readers that meet a mark go to the source and store nothing. Marks carry the
  writer's name and a deadline, so two writers of one table do not end each other's, and
  those of a writer that was killed end by themselves and leave no token: a miss.

Column values: ``documents.*``, the rows token, lists the columns that something depends on,
each with a *move*, a random text that changes when some row's value in that column changes.
A reader enters its column before it stores; entering is refused while the table is pending,
because that writer does not know of the column yet. A writer that knows the values of all
rows it touched marks the tokens of these values; if it does not (bulk DML), or meets a column
it did not know of, it marks the rows token, on which every entry of a column value depends.
Values that it took from loaded objects count as known only if no move happened since its
transaction began: otherwise the row may have been another's since.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

MARK_SECONDS = 10.0
"""How long a writer may take between its mark and its commit; a killed one costs that long."""

LONG_MARK_SECONDS = 600.0
"""The same where the mark stands before a whole statement (AUTOCOMMIT) or a prepared commit."""

TOKEN_SECONDS = 86_400.0
"""Life of a token that nobody asks for; an entry that lives longer keeps its tokens longer."""

FRESH_TOKEN_SECONDS = 600.0
"""Life of a token that a writer left and no reader has picked up."""

ANY_MOVE = "?"
"""Belief of a writer that need not know whether values moved: the database compared them."""

_MOST_SEEN = 20_000


@dataclass(frozen=True)
class TableMark:
    """What a commit is going to do to one table.

    ``believes`` maps each column whose values are all known to the move under which they
    are; ``values`` holds the tokens of these values; ``moved`` the columns that got other ones.
    """

    table: str
    believes: Mapping[str, str] = field(default_factory=dict)
    values: tuple[str, ...] = ()
    moved: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prepared:
    """The answer to a miss: the tokens to store under, and whether the lock was got.

    ``epoch`` is the server's when it was asked. A token is None while a writer is at work.
    ``tables`` holds the table tokens behind column values; ``moves`` the columns entered, as
    (table, column) and their move. ``stored`` says whether the key had a value when the lock was
    got, good or not: another process may have stored it since it was missed.
    """

    epoch: str
    tokens: Mapping[str, str | None]
    tables: Mapping[str, str | None]
    moves: Mapping[tuple[str, str], str]
    locked: bool
    stored: bool


@dataclass(frozen=True)
class Begun:
    """What a writer finds when it marks a table: its entered columns, with their moves.

    A move is empty while another writer is moving values. ``sufficed``: the values known
    covered every column; otherwise the rows token was marked in their place.
    """

    sufficed: bool
    moves: Mapping[str, str]


@dataclass(frozen=True)
class PushSource:
    """Where pushes come from: how to connect, what keys of tokens begin with.

    ``gone`` begins the names that stand for the keys of entries; alone it stands for all.
    """

    connect: Callable[[], Any]
    prefix: str
    gone: str


class Backend(Protocol):
    """Where values, tokens and locks live."""

    shared: bool
    """Whether other processes see the same."""

    @property
    def epoch(self) -> str:
        """Name the server's run; empty before it was first asked.

        Tokens of another run, restored from a snapshot, do not count.
        """

    def ask_epoch(self) -> str:
        """Name the server's run, asking it if that was not done yet."""

    def read(
        self, keys: Sequence[str], names: Sequence[str]
    ) -> tuple[list[bytes | None], list[str | None]]:
        """Fetch payloads and tokens in one trip; None is missing or pending."""

    def prepare(
        self,
        names: Sequence[str],
        columns: Sequence[tuple[str, str]],
        seconds: float,
        lock: tuple[str, str, float] | None,
    ) -> Prepared:
        """Make missing tokens, enter columns and try the lock (key, owner, seconds)."""

    def store(self, key: str, payload: bytes, seconds: float, owner: str | None) -> None:
        """Keep the payload for so many seconds, and give back the lock of this owner."""

    def replace(self, key: str, payload: bytes, seconds: float) -> None:
        """Store, and drop what processes keep near under this key."""

    def unlock(self, key: str, owner: str) -> None:
        """Give the lock back if it is still the owner's."""

    def delete(self, keys: Sequence[str]) -> int:
        """Drop entries and return how many there were."""

    def delete_matching(self, pattern: str) -> int:
        """Drop the entries whose key matches the glob and return how many there were."""

    def begin(self, mark: str, tables: Sequence[TableMark], seconds: float) -> dict[str, Begun]:
        """Mark tables pending, under the writer's name and for so many seconds."""

    def end(
        self, mark: str, tables: Sequence[TableMark], unknown: Mapping[str, Sequence[str]]
    ) -> tuple[dict[str, str], dict[tuple[str, str], str]]:
        """Take the marks away; return the fresh tokens and moves.

        :param unknown: the tables whose rows token was marked, with the columns to enter again.
        """

    def open_pushes(self) -> PushSource | None:
        """Tell where the server pushes changed tokens; None if there is no server."""

    def ping(self) -> None:
        """Raise what a trip to the backend would raise."""


class SeenTokens:
    """Since when this process has seen each token with the value that it has now.

    A token that was seen before a snapshot was taken, and is still current, proves that
    nothing was committed in between: what was read from the snapshot may be stored.
    """

    def __init__(self) -> None:
        self._seen: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def note(self, tokens: Iterable[tuple[str, str | None]]) -> None:
        """Take in tokens, each with its name, that a trip to the backend has just brought."""
        for name, token in tokens:
            if token is None:
                self._seen.pop(name, None)
            elif (known := self._seen.get(name)) is None or known[0] != token:
                self._seen[name] = (token, time.monotonic())
                while len(self._seen) > _MOST_SEEN:
                    self._seen.popitem(last=False)

    def knows(self, name: str) -> bool:
        """Say whether a value of the token was seen at all."""
        return name in self._seen

    def since(self, name: str, token: str | None) -> float:
        """Return since when the token is known to have had this value; infinity if it is not."""
        known = self._seen.get(name)
        return known[1] if known is not None and known[0] == token else float("inf")
