"""What one transaction changed so far: tables, and the values of watched columns.

Nothing here talks to a cache. A column is watched once an entry somewhere depends on one of
its values; of other columns no value is kept.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from flask_perfkit.cache.writes.statements import Write

_MOST_VALUES = 500

_watched: dict[str, frozenset[str]] = {}


def watch(table: str, column: str) -> None:
    """From now on keep the values that writes give to this column."""
    _watched[table] = _watched.get(table, frozenset()) | {column}


def watched(table: str) -> frozenset[str]:
    """Name the columns of the table whose values are kept."""
    return _watched.get(table, frozenset())


class TableChanges:
    """The writes to one table.

    ``values`` holds every value that a touched row had or got. A column's values are complete
    when they were resolved for each write: see :meth:`complete`. ``loaded`` names the columns
    of which a value was taken from a loaded object, so is only as young as the load;
    ``moved`` those that got another value.
    """

    def __init__(self) -> None:
        self.writes = 0
        self.values: dict[str, set[str]] = {}
        self.loaded: set[str] = set()
        self.moved: set[str] = set()
        self._resolved: Counter[str] = Counter()
        self._announced: dict[tuple[str, ...], Mapping[str, set[str] | None]] = {}
        self._expected = 0
        self._awaited: Counter[str] = Counter()

    def complete(self, column: str) -> bool:
        """Say whether the values of every touched row are known."""
        return (
            self._resolved[column] == self.writes
            and not self._awaited[column]
            and len(self.values.get(column, ())) <= _MOST_VALUES
        )

    def note(self, write: Write, parameters: list[dict[str, Any]]) -> None:
        """Note a statement that is about to be executed with these parameters."""
        self.writes += 1
        columns = watched(write.table)
        if not columns:
            return
        rows = [] if write.insert else self._take_announced(write, parameters)
        for column in columns:
            if not write.known:
                found = None
            elif write.insert:
                found = self._inserted(write, column, parameters)
            else:
                found = self._touched(write, column, parameters, rows)
            if found is not None:
                self._resolved[column] += 1
                self._keep(column, found)

    def announce(self, key: tuple[str, ...], values: Mapping[str, set[str] | None]) -> None:
        """Keep the values of a row that a flush is going to update or delete."""
        self._announced[key] = values

    def expect_insert(self) -> None:
        """Expect a row whose values :meth:`inserted` will tell once it is there."""
        self._expected += 1

    def inserted(self, values: Mapping[str, set[str] | None]) -> None:
        """Take the values of a row that was inserted, the ones made by the database included."""
        for column, found in values.items():
            if found is not None:
                self._keep(column, found)
                if self._awaited[column]:
                    self._awaited[column] -= 1

    def merge(self, other: TableChanges) -> None:
        """Add what happened inside a savepoint that was released."""
        self.writes += other.writes
        self.loaded |= other.loaded
        self.moved |= other.moved
        self._resolved += other._resolved
        self._awaited += other._awaited
        for column, found in other.values.items():
            self._keep(column, found)

    def _keep(self, column: str, found: set[str]) -> None:
        kept = self.values.setdefault(column, set())
        if len(kept) <= _MOST_VALUES:
            kept |= found

    def _take_announced(
        self, write: Write, parameters: list[dict[str, Any]]
    ) -> list[Mapping[str, set[str] | None] | None]:
        keys = write.row_keys(parameters)
        if keys is None:
            return [None]
        return [self._announced.pop(key, None) for key in keys]

    def _inserted(
        self, write: Write, column: str, parameters: list[dict[str, Any]]
    ) -> set[str] | None:
        assert write.sets is not None
        names = write.sets.get(column)
        if names is not None:
            return write.texts(column, names, parameters)
        if self._expected < len(parameters):
            return None
        self._expected -= len(parameters)
        self._awaited[column] += len(parameters)
        return set()

    def _touched(
        self,
        write: Write,
        column: str,
        parameters: list[dict[str, Any]],
        rows: list[Mapping[str, set[str] | None] | None],
    ) -> set[str] | None:
        assert write.sets is not None
        assert write.where is not None
        found: set[str] = set()
        if column in write.where:
            before = write.texts(column, (write.where[column],), parameters)
            if before is None:
                return None
            found |= before
        else:
            self.loaded.add(column)
            for row in rows:
                values = row.get(column) if row is not None else None
                if values is None:
                    return None
                found |= values
        if column in write.sets:
            self.moved.add(column)
            names = write.sets[column]
            after = write.texts(column, names, parameters) if names is not None else None
            if after is None:
                return None
            found |= after
        return found


class Changes:
    """The tables that a transaction wrote, one frame for each open savepoint.

    ``began``: when its first statement was about to run (``time.monotonic()``). What it
    reads under snapshot isolation may be as old as that.
    """

    def __init__(self) -> None:
        self.began = time.monotonic()
        self._frames: list[tuple[str, dict[str, TableChanges]]] = [("", {})]

    def __bool__(self) -> bool:
        return any(changes.writes for _, frame in self._frames for changes in frame.values())

    def table(self, table: str) -> TableChanges:
        """Return the table's changes within the innermost savepoint."""
        return self._frames[-1][1].setdefault(table, TableChanges())

    def tables(self) -> dict[str, TableChanges]:
        """Return all changes, the frames put together."""
        merged: dict[str, TableChanges] = {}
        for _, frame in self._frames:
            for table, changes in frame.items():
                if changes.writes:
                    merged.setdefault(table, TableChanges()).merge(changes)
        return merged

    def clear(self) -> None:
        """Forget all of it, as each statement was committed by itself."""
        self._frames = [("", {})]

    def touches(self, tables: frozenset[str] | None) -> bool:
        """Say whether one of these tables was written; None stands for any."""
        return any(
            changes.writes and (tables is None or name in tables)
            for _, frame in self._frames
            for name, changes in frame.items()
        )

    def savepoint(self, name: str) -> None:
        """Open a frame that a rollback to this savepoint empties."""
        self._frames.append((name, {}))

    def rollback_to(self, name: str) -> None:
        """Forget what happened since the savepoint, which stays open."""
        if self._open(name):
            while self._frames[-1][0] != name:
                self._frames.pop()
            self._frames[-1][1].clear()

    def release(self, name: str) -> None:
        """Keep what happened since the savepoint as part of what is around it."""
        if not self._open(name):
            return
        last = None
        while last != name:
            last, frame = self._frames.pop()
            for table, changes in frame.items():
                self.table(table).merge(changes)

    def _open(self, name: str) -> bool:
        return any(frame_name == name for frame_name, _ in self._frames[1:])
