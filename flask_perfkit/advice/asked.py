"""What a workload asks: statements with their needs, and what it writes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sqlalchemy import Table
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.dml import Delete, Insert, Update

from flask_perfkit.advice.index import Index
from flask_perfkit.advice.statement.needs import Need, needs_of
from flask_perfkit.advice.statement.terms import Scope, table_of
from flask_perfkit.advice.workload import RecordedStatement
from flask_perfkit.faults import log_once


def plain_dialect(dialect: Dialect) -> Dialect:
    """Return a dialect that writes a percent sign as it is, for SQL that has no parameters."""
    kind: Any = type(dialect)
    plain: Dialect = kind(paramstyle="named")
    return plain


@dataclass
class Asked:
    """One statement and what it asks of each table; ``count`` is how often it and its like come."""

    recorded: RecordedStatement
    needs: list[Need]
    count: int = 0
    _usable: dict[Index, bool] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def tables(self) -> frozenset[Table]:
        """The tables that it asks something of."""
        return frozenset(need.table for need in self.needs)

    def may_use(self, index: Index) -> bool:
        """Tell whether a plan could begin with an index: its first key or condition is named."""
        if index not in self._usable:
            self._usable[index] = self._may_use(index)
        return self._usable[index]

    def _may_use(self, index: Index) -> bool:
        return any(
            not index.keys[0].columns.isdisjoint(need.named)
            or (index.where is not None and any(one.sql in index.where for one in need.fixed))
            for need in self.needs
            if need.table is index.table
        )


@dataclass
class Writes:
    """How many rows are written in the time that the workload speaks of, by table."""

    inserted: dict[Table, float] = field(default_factory=lambda: defaultdict(float))
    updated: dict[Table, list[tuple[frozenset[str], float]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    deleted: set[Table] = field(default_factory=set)

    def entries(self, table: Table, columns: frozenset[str]) -> float:
        """Return how often an index over some columns gets an entry."""
        changed = sum(rows for names, rows in self.updated[table] if names & columns)
        return self.inserted[table] + changed


def asked_of(statements: Iterable[RecordedStatement]) -> Iterator[Asked]:
    """Yield the statements that can be understood, with their needs."""
    for recorded in statements:
        needs: list[Need] = []
        try:
            if recorded.tree is not None:
                needs = list(needs_of(recorded.tree, scope_of(recorded)))
        except Exception:
            log_once("reading a statement's tree")
        yield Asked(recorded, needs, recorded.count)


def one_of_each(asked: Iterable[Asked]) -> Iterator[Asked]:
    """Yield one of the statements that ask the same of the same tables; it counts for all.

    An application has a thousand statements, but few ways to ask.
    """
    alike: dict[object, Asked] = {}
    for one in asked:
        if not one.needs:
            continue
        shape = (type(one.recorded.tree), tuple(need.shape for need in one.needs))
        known = alike.setdefault(shape, one)
        if known is not one:
            known.count += one.count
    yield from alike.values()


def scope_of(recorded: RecordedStatement) -> Scope:
    """Return what names the values of a statement."""
    return Scope(recorded.compiled, recorded.constants, plain_dialect(recorded.engine.dialect))


def writes_of(
    statements: Iterable[RecordedStatement], whole_of: Callable[[Table], Table]
) -> Writes:
    """Add up what a workload writes.

    :param whole_of: gives for a part of a partitioned table the whole.
    """
    writes = Writes()
    for recorded in statements:
        tree = recorded.tree
        table = table_of(getattr(tree, "table", None))
        if table is None:
            continue
        table = whole_of(table)
        rows = float(max(recorded.rows, recorded.count))
        if isinstance(tree, Insert):
            writes.inserted[table] += rows
        elif isinstance(tree, Update):
            writes.updated[table].append((_changed(tree, recorded.compiled), rows))
        elif isinstance(tree, Delete):
            writes.deleted.add(table)
    return writes


def _changed(update: Update, compiled: Any) -> frozenset[str]:
    named = {getattr(key, "name", key) for key in (update._values or {})}
    ordered = getattr(update, "_ordered_values", None) or ()  # of SQLAlchemy 2.0
    named |= {getattr(key, "name", key) for key, _ in ordered}
    named |= set(compiled.column_keys or ())
    return frozenset(str(name) for name in named)
