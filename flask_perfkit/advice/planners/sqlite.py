"""SQLite: indexes are built on a copy, and the steps that a statement takes are counted.

SQLite's planner tells no costs. The steps of its virtual machine are the same on every run and
on every machine, and they follow the time that a statement takes.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import Any

from sqlalchemy import Table
from sqlalchemy.engine import Connection, Dialect

from flask_perfkit.advice.index import Index
from flask_perfkit.advice.planners.planner import (
    MOST_ROWS,
    NO_INDEXES,
    ExistingIndex,
    Outcome,
    TableFacts,
    best_of_three,
    some_rows,
)
from flask_perfkit.advice.workload import RecordedStatement, Sample

_STEP = 100
_MOST_STEPS = 200_000_000
_MOST_COUNTED = 100


class SQLite:
    """A copy of a database in a file of its own, which ``close`` deletes."""

    unit = "steps"
    entry = 30.0
    how = "built on a copy of the database"

    def __init__(self, connection: Connection) -> None:
        self._dialect: Dialect = connection.dialect
        self._quote = self._dialect.identifier_preparer.quote
        self._directory = tempfile.TemporaryDirectory(prefix="perfkit-indexes-")
        # A plan that was asked for before is told again, whatever became of the indexes: so
        # statements are not kept.
        path = Path(self._directory.name) / "copy.db"
        self._copy = sqlite3.connect(path, isolation_level=None, cached_statements=0)
        driver: Any = connection.connection.driver_connection
        _backup(driver, self._copy)
        for pragma in ("journal_mode = MEMORY", "synchronous = OFF"):
            self._copy.execute(f"PRAGMA {pragma}").fetchall()
        self._analysed = bool(self._rows("SELECT 1 FROM sqlite_master WHERE name='sqlite_stat1'"))
        self._built: list[Index] = []
        self._facts: dict[Table, TableFacts | None] = {}
        self._values: dict[tuple[Table, str], float] = {}
        self._known: dict[tuple[RecordedStatement, int, tuple[str, ...]], float | None] = {}

    @property
    def locked(self) -> frozenset[Table]:
        """None: nobody else has the copy."""
        return frozenset()

    def hold(self, tables: Iterable[Table]) -> None:
        """Do nothing: nobody else has the copy."""

    def close(self) -> None:
        """Delete the copy."""
        self._copy.close()
        self._directory.cleanup()

    def facts(self, table: Table) -> TableFacts | None:
        """Return size and indexes, read once."""
        if table not in self._facts:
            self._facts[table] = self._read_facts(table)
        return self._facts[table]

    def _read_facts(self, table: Table) -> TableFacts | None:
        name = self._quote(table.name)
        if not self._rows("SELECT 1 FROM sqlite_master WHERE type='table' AND name=?", table.name):
            return None
        ((rows,),) = self._rows(f"SELECT count(*) FROM {name}")
        ((size,),) = self._rows("PRAGMA page_size")
        ((pages,),) = (
            self._rows("SELECT sum(pgsize) FROM dbstat WHERE name=?", table.name)
            if (self._has_dbstat())
            else ((rows * 50,),)
        )
        return TableFacts(rows, int((pages or 0) / size), tuple(self._indexes(table.name)))

    def _has_dbstat(self) -> bool:
        return bool(self._rows("SELECT 1 FROM pragma_module_list WHERE name='dbstat'"))

    def _indexes(self, table: str) -> Iterator[ExistingIndex]:
        listed = self._rows(
            'SELECT name, "unique", origin, partial FROM pragma_index_list(?)', table
        )
        for name, unique, origin, partial in listed:
            found = self._rows("SELECT sql FROM sqlite_master WHERE name=?", name)
            sql = (found[0][0] if found else None) or ""
            infos = self._rows(
                'SELECT name, "desc", coll FROM pragma_index_xinfo(?) WHERE "key"', name
            )
            where = sql.upper().partition(" WHERE ")[2] if partial else None
            pinned = "it keeps values unique" if unique else ""
            if any(column is None for column, _, _ in infos):
                pinned = pinned or "it has an expression, which SQLite does not report"
            yield ExistingIndex(
                name=name,
                identifier=self._quote(name),
                sql=sql,
                keys=tuple(infos),
                columns=tuple(column or "" for column, _, _ in infos),
                where=where,
                unique=bool(unique),
                pinned="it is the primary key" if origin == "pk" else pinned,
            )

    def fraction(self, table: Table, where: str) -> float:
        """Return the part of the rows, counted."""
        name = self._quote(table.name)
        try:
            ((part,),) = self._rows(
                f"SELECT avg(CASE WHEN {where} THEN 1.0 ELSE 0 END) FROM {name}"
            )
        except sqlite3.Error:
            return 1.0
        return float(part or 0.0)

    def values(self, table: Table, column: str) -> float:
        """Return the number of values, counted once."""
        if (table, column) not in self._values:
            quote = self._quote
            sql = f"SELECT count(DISTINCT {quote(column)}) FROM {quote(table.name)}"
            self._values[table, column] = float(self._rows(sql)[0][0])
        return self._values[table, column]

    def some(self, table: Table, columns: Sequence[str]) -> list[tuple[Any, ...]]:
        """Return values of the first, the least and the greatest row."""
        return self._rows(some_rows(table, columns, self._dialect.identifier_preparer))

    def by_frequency(self, table: Table, column: str) -> list[Any]:
        """Return the values that were counted most."""
        name, quoted = self._quote(table.name), self._quote(column)
        sql = f"SELECT {quoted} FROM {name} WHERE {quoted} IS NOT NULL GROUP BY 1"
        rows = self._rows(f"{sql} ORDER BY count(*) DESC, 1 LIMIT ?", _MOST_COUNTED)
        return [value for (value,) in rows]

    def build(self, indexes: Collection[Index]) -> Mapping[Index, str]:
        """Build indexes on the copy; what fails is said."""
        refused = {}
        for index in indexes:
            try:
                self._copy.execute(index.create(self._dialect))
            except sqlite3.Error as error:
                refused[index] = str(error)
            else:
                self._built.append(index)
        if self._analysed:
            self._copy.execute("ANALYZE")
        return refused

    def existing(self, table: Table) -> tuple[ExistingIndex, ...]:
        """Return the indexes of the copy."""
        return tuple(self._indexes(table.name))

    def size(self, index: Index) -> int:
        """Return the bytes of its pages, or a guess where SQLite cannot tell."""
        if self._has_dbstat():
            rows = self._rows("SELECT sum(pgsize) FROM dbstat WHERE name=?", index.name)
            return int(rows[0][0] or 0)
        part = self.fraction(index.table, index.where) if index.where else 1.0
        return int(getattr(self.facts(index.table), "rows", 0) * part * (8 + 12 * len(index.keys)))

    def costs(
        self,
        statements: Iterable[RecordedStatement],
        shown: Collection[Index],
        hidden: Collection[str] = NO_INDEXES,
    ) -> dict[RecordedStatement, Outcome]:
        """Count steps; a plan that was counted before is not executed again."""
        found = {}
        with self._only(shown, hidden):
            for one in statements:
                cost, used = 0.0, set[str]()
                for number, sample in enumerate(one.samples):
                    plan = self._plan(sample)
                    key = (one, number, plan)
                    if key not in self._known:
                        self._known[key] = self._steps(sample) if plan else None
                    cost += self._known[key] or float("nan")
                    used |= {name for line in plan for name in _used(line)}
                if cost == cost:  # not a statement that failed
                    found[one] = Outcome(cost / max(len(one.samples), 1), frozenset(used))
        return found

    def _plan(self, sample: Sample) -> tuple[str, ...]:
        try:
            rows = self._copy.execute(f"EXPLAIN QUERY PLAN {sample.sql}", sample.parameters or ())
            return tuple(row[3] for row in rows)
        except sqlite3.Error:
            return ()

    def _steps(self, sample: Sample) -> float | None:
        steps = 0

        def count() -> bool:
            nonlocal steps
            steps += _STEP
            return steps > _MOST_STEPS

        self._copy.set_progress_handler(count, _STEP)
        try:
            with self._savepoint():
                for _ in self._copy.execute(sample.sql, sample.parameters or ()):
                    pass
        except sqlite3.Error:
            return None if steps <= _MOST_STEPS else float(steps)
        finally:
            self._copy.set_progress_handler(None, 0)
        return float(max(steps, 1))

    def measure(self, statement: RecordedStatement, shown: Collection[Index]) -> float:
        """Execute it, the best of three for each set of parameters."""
        with self._only(shown, NO_INDEXES):
            return best_of_three(statement.samples, self._seconds)

    def _seconds(self, sample: Sample) -> float:
        with self._savepoint():
            started = perf_counter()
            self._copy.execute(sample.sql, sample.parameters or ()).fetchall()
            return perf_counter() - started

    def plan(self, statement: RecordedStatement, shown: Collection[Index]) -> str:
        """Return the plan for the last set of parameters."""
        with self._only(shown, NO_INDEXES):
            return " > ".join(self._plan(statement.samples[-1]))

    def needs_values(self, statement: RecordedStatement, index: Index) -> bool:
        """Say no: it makes one plan, with values or without."""
        return False

    def answer(self, sample: Sample) -> list[Any]:
        """Execute a SELECT on the copy."""
        with self._savepoint():
            return self._copy.execute(sample.sql, sample.parameters or ()).fetchmany(MOST_ROWS)

    @contextmanager
    def _only(self, shown: Collection[Index], hidden: Collection[str]) -> Iterator[None]:
        quote = self._quote
        with self._savepoint():
            for name in [*(quote(one.name) for one in self._built if one not in shown), *hidden]:
                self._copy.execute(f"DROP INDEX {name}")
            yield

    @contextmanager
    def _savepoint(self) -> Iterator[None]:
        self._copy.execute("SAVEPOINT perfkit")
        try:
            yield
        finally:
            self._copy.execute("ROLLBACK TO perfkit")
            self._copy.execute("RELEASE perfkit")

    def _rows(self, sql: str, *parameters: Any) -> list[Any]:
        return self._copy.execute(sql, parameters).fetchall()


def _backup(driver: Any, copy: sqlite3.Connection) -> None:
    """Copy a database, functions that the application defined left behind."""
    driver.backup(copy)


def _used(line: str) -> Iterator[str]:
    """Yield the index that a line of EXPLAIN QUERY PLAN names."""
    words = line.split()
    for before, name in pairwise(words):
        if before == "INDEX":
            yield name
