"""What advice asks of a database, whichever it is and whether its indexes are real."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from sqlalchemy import Table
from sqlalchemy.sql.compiler import IdentifierPreparer

from flask_perfkit.advice.index import Index
from flask_perfkit.advice.workload import RecordedStatement, Sample

NO_INDEXES: frozenset[str] = frozenset()
_RUNS = 3
FEW_VALUES = 50
"""A column of so few values holds states, not things."""

MOST_ROWS = 10_000
"""Rows of an answer that are compared."""


class Outcome(NamedTuple):
    """What one statement costs, and the names of the indexes that its plan uses."""

    cost: float
    used: frozenset[str]


@dataclass(frozen=True)
class ExistingIndex:
    """An index that is there.

    ``identifier`` is its name as SQL has it, quoted and with its schema where it must be.
    ``keys`` say all that makes two keys alike: expression, operator class, collation, direction.
    ``pinned`` says why it must stay whatever the planner thinks, or nothing.
    """

    name: str
    identifier: str
    sql: str
    keys: tuple[object, ...]
    columns: tuple[str, ...]
    include: frozenset[str] = frozenset()
    where: str | None = None
    method: str = "btree"
    unique: bool = False
    valid: bool = True
    pinned: str = ""


@dataclass(frozen=True)
class TableFacts:
    """How large a table is, and which indexes it has.

    ``part_of`` is the schema and the name of the partitioned table that it belongs to.
    """

    rows: float
    pages: int
    indexes: tuple[ExistingIndex, ...]
    is_partitioned: bool = False
    part_of: tuple[str, str] | None = None


def some_rows(table: Table, columns: Sequence[str], quote: IdentifierPreparer) -> str:
    """Return the select of the first, the least and the greatest row of some columns."""
    names = [quote.quote(name) for name in columns]
    listed, known = ", ".join(names), " AND ".join(f"{name} IS NOT NULL" for name in names)
    rows = f"SELECT {listed} FROM {quote.format_table(table)} WHERE {known}"
    ends = [f" ORDER BY {', '.join(f'{name} {way}' for name in names)}" for way in ("ASC", "DESC")]
    return " UNION ".join(f"SELECT * FROM ({rows}{end} LIMIT 1) AS found" for end in ["", *ends])


def best_of_three(samples: Sequence[Sample], run: Callable[[Sample], float]) -> float:
    """Return how many seconds a statement takes, by the best of three runs of each sample."""
    seconds = sum(min(run(sample) for _ in range(_RUNS)) for sample in samples)
    return seconds / max(len(samples), 1)


class Planner(Protocol):
    """A database that can be asked for costs.

    ``unit`` is what its costs are counted in, and ``how`` how an index is tried.
    """

    unit: str
    how: str
    entry: float
    """What one entry of a B-tree index costs, in that unit, when a row is written."""

    @property
    def locked(self) -> frozenset[Table]:
        """The tables on which others held a lock for too long: nothing is known of them."""

    def hold(self, tables: Iterable[Table]) -> None:
        """See to it that no statement waits for these tables later; some may be locked."""

    def close(self) -> None:
        """Leave nothing behind of what was built."""

    def facts(self, table: Table) -> TableFacts | None:
        """Return what is known of a table, None where it is not there."""

    def fraction(self, table: Table, where: str) -> float:
        """Return the part of the rows for which a condition holds."""

    def values(self, table: Table, column: str) -> float:
        """Return how many different values a column has."""

    def some(self, table: Table, columns: Sequence[str]) -> list[tuple[Any, ...]]:
        """Return a few different values that rows have in some columns, none of them NULL."""

    def by_frequency(self, table: Table, column: str) -> list[Any]:
        """Return a column's most common values as the driver has them, the first most common."""

    def build(self, indexes: Collection[Index]) -> Mapping[Index, str]:
        """Try to have these indexes; returns those that cannot be, with the reason."""

    def existing(self, table: Table) -> tuple[ExistingIndex, ...]:
        """Return the indexes that a table has by now, those that were built included."""

    def size(self, index: Index) -> int:
        """Return the bytes of an index that was built."""

    def costs(
        self,
        statements: Iterable[RecordedStatement],
        shown: Collection[Index],
        hidden: Collection[str] = NO_INDEXES,
    ) -> dict[RecordedStatement, Outcome]:
        """Return what statements cost if of those built only ``shown`` existed.

        :param hidden: identifiers of existing indexes to do without.
        """

    def measure(self, statement: RecordedStatement, shown: Collection[Index]) -> float:
        """Execute a statement and return its seconds; nothing of what it writes is kept."""

    def plan(self, statement: RecordedStatement, shown: Collection[Index]) -> str:
        """Return a plan in words, by its steps and the names in it: conditions show values."""

    def needs_values(self, statement: RecordedStatement, index: Index) -> bool:
        """Tell whether a plan that is made without a statement's values leaves an index out."""

    def answer(self, sample: Sample) -> list[Any]:
        """Execute a SELECT, and return its first rows."""
