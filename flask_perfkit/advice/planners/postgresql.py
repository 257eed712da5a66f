"""PostgreSQL: indexes are built in a transaction that is rolled back, and the planner is asked."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Table
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from flask_perfkit.advice.index import Index
from flask_perfkit.advice.planners import locks
from flask_perfkit.advice.planners.catalog import existing_indexes
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

_STATEMENT_TIMEOUT = "60s"
_NAMES = ("Index Name", "Relation Name")
_STALE = """
SELECT c.reltuples < 0 OR NOT EXISTS (
        SELECT FROM pg_stats WHERE schemaname = c.relnamespace::regnamespace::name
        AND tablename = c.relname)
    OR coalesce(s.n_mod_since_analyze > 0.2 * c.reltuples, false)
FROM pg_class c LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid WHERE c.oid = {oid}
"""
"""Whether the planner knows less of a table than autovacuum would soon tell it."""
_TABLE = """
SELECT c.oid::int8, c.relkind, c.relkind = 'p' AS is_partitioned, n.nspname, whole.relname,
    coalesce((SELECT sum(pg_relation_size(relid)) FROM pg_partition_tree(c.oid)),
             pg_relation_size(c.oid)) / 8192 AS pages
FROM pg_class c
LEFT JOIN pg_class whole ON whole.oid = pg_partition_root(c.oid) AND whole.oid <> c.oid
LEFT JOIN pg_namespace n ON n.oid = whole.relnamespace
WHERE c.oid = to_regclass('{name}')
"""
_WHOLES = """
SELECT part.relname, whole.relname FROM pg_class part
JOIN pg_class whole ON whole.oid = pg_partition_root(part.oid)
WHERE part.relkind IN ('i', 'I') AND part.relispartition
"""
"""The indexes of partitions, each with that of the partitioned table."""
AND_PARTS = "SELECT '{name}'::regclass UNION SELECT relid FROM pg_partition_tree('{name}')"
"""A relation and, where it is partitioned, all of its parts."""
_TYPE = """
SELECT format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attrelid = to_regclass(%s) AND attname = %s
"""


class PostgreSQL:
    """Builds indexes for real; after ``close`` nothing of them is left.

    :param connection: is in no transaction yet; it is rolled back at the end.
    """

    unit = "cost"
    entry = 2.0  # some 80 bytes of log and 7 microseconds, where a page read in order costs 1
    how = "built in a transaction that was rolled back"

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._quote = connection.dialect.identifier_preparer
        self._built: list[Index] = []
        self._facts: dict[Table, TableFacts | None] = {}
        self._locked: set[Table] = set()
        self._wholes: dict[str, str] | None = None
        self._broken: set[RecordedStatement] = set()
        self._sound: set[RecordedStatement] = set()
        is_superuser = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
        self._is_superuser = bool(self._run(is_superuser).scalar())
        locks.wait_briefly(connection)
        self._run(f"SET LOCAL statement_timeout = '{_STATEMENT_TIMEOUT}'")
        self._run("SET LOCAL jit = off")
        self._run("SET LOCAL max_parallel_workers_per_gather = 0")

    def close(self) -> None:
        """Roll everything back."""
        self._connection.rollback()

    @property
    def locked(self) -> frozenset[Table]:
        """The tables on which others held a lock for too long."""
        return frozenset(self._locked)

    def hold(self, tables: Iterable[Table]) -> None:
        """Lock tables as a reader does, so that no statement waits for one later."""
        self._locked |= {table for table in tables if not self._lock(table, "ACCESS SHARE")}

    def _lock(self, table: Table, mode: str) -> bool:
        return locks.lock(self._connection, self._name(table), mode)

    def facts(self, table: Table) -> TableFacts | None:
        """Return size and indexes, read once."""
        if table in self._locked:
            return None
        if table not in self._facts:
            self._facts[table] = self._read_facts(table)
        return self._facts[table]

    def _read_facts(self, table: Table) -> TableFacts | None:
        row = self._run(_TABLE.format(name=self._regclass(table))).first()
        if row is None or row.relkind not in ("r", "m", "p"):
            return None
        oid = row.oid
        if self._run(_STALE.format(oid=oid)).scalar():
            self._analyse(table)
        tuples = self._run(f"SELECT reltuples FROM pg_class WHERE oid = {oid}").scalar_one()
        return TableFacts(
            tuples,
            int(row.pages),
            tuple(existing_indexes(self._connection, oid)),
            row.is_partitioned,
            (row.nspname, row.relname) if row.relname is not None else None,
        )

    def _analyse(self, table: Table) -> None:
        self._run(f"ANALYZE {self._name(table)}")

    def fraction(self, table: Table, where: str) -> float:
        """Return the part of the rows by the planner's own estimate."""
        sql = f"EXPLAIN (FORMAT JSON) SELECT 1 FROM {self._name(table)} WHERE {where}"
        with self._savepoint():
            try:
                (plan,) = self._json(sql, None)
            except DBAPIError:
                return 1.0
        facts = self.facts(table)
        return float(plan["Plan"]["Plan Rows"] / max(facts.rows if facts else 1.0, 1.0))

    def values(self, table: Table, column: str) -> float:
        """Return the number of values by the statistics; one for each row where it has none."""
        found = self._statistic("n_distinct", table, column)
        rows = getattr(self.facts(table), "rows", 1.0)
        return float(rows if found is None else found if found >= 0 else -found * rows)

    def _statistic(self, what: str, table: Table, column: str) -> Any:
        schema = f"'{table.schema}'" if table.schema else "ANY(current_schemas(false))"
        sql = f"SELECT {what} FROM pg_stats WHERE schemaname = {schema}"
        sql += " AND tablename = %s AND attname = %s"
        return self._connection.exec_driver_sql(sql, (table.name, column)).scalar()

    def some(self, table: Table, columns: Sequence[str]) -> list[tuple[Any, ...]]:
        """Return values of the first, the least and the greatest row."""
        if table in self._locked:
            return []
        return [tuple(row) for row in self._run(some_rows(table, columns, self._quote)).all()]

    def by_frequency(self, table: Table, column: str) -> list[Any]:
        """Return the most common values by the statistics."""
        asked = self._connection.exec_driver_sql
        kind = asked(_TYPE, (self._name(table), column)).scalar_one()
        with self._savepoint():
            found = self._statistic(f"most_common_vals::text::{kind}[]", table, column)
        return list(found or ())

    def build(self, indexes: Collection[Index]) -> Mapping[Index, str]:
        """Build indexes one after the other; what fails is undone and said."""
        refused = {}
        self._wholes = None
        tables = dict.fromkeys(index.table for index in indexes)
        self._locked |= {table for table in tables if not self._lock(table, "SHARE")}
        for index in indexes:
            if index.table in self._locked:
                refused[index] = "others hold a lock on the table"
                continue
            try:
                with self._savepoint(keep=True):
                    if index.extension:
                        self._run(f"CREATE EXTENSION IF NOT EXISTS {index.extension}")
                    self._drop_if_invalid(index)
                    self._run(index.create(self._connection.dialect))
                    if any(key.column is None for key in index.keys):
                        self._run(f"ANALYZE {self._name(index.table)}")
            except DBAPIError as error:
                refused[index] = reason_of(error)
            else:
                self._built.append(index)
        return refused

    def _drop_if_invalid(self, index: Index) -> None:
        """Make room where an interrupted build has left its index."""
        facts = self.facts(index.table)
        names = {one.name: one for one in facts.indexes} if facts else {}
        there = names.get(index.name)
        if there is not None and not there.valid:
            self._run(f"DROP INDEX {there.identifier}")

    def existing(self, table: Table) -> tuple[ExistingIndex, ...]:
        """Return what the catalog has inside of the transaction."""
        sql = f"SELECT to_regclass('{self._regclass(table)}')::oid::int8"
        return tuple(existing_indexes(self._connection, self._run(sql).scalar_one()))

    def size(self, index: Index) -> int:
        """Return the bytes of its file, or of those of its parts."""
        parts = AND_PARTS.format(name=self._index_name(index).replace("'", "''"))
        sql = f"SELECT sum(pg_relation_size(oid)) FROM pg_class WHERE oid IN ({parts})"
        return int(self._run(sql).scalar() or 0)

    def costs(
        self,
        statements: Iterable[RecordedStatement],
        shown: Collection[Index],
        hidden: Collection[str] = NO_INDEXES,
    ) -> dict[RecordedStatement, Outcome]:
        """Ask the planner, with every index that is not shown dropped until the savepoint."""
        with self._only(shown, hidden):
            return {
                one: outcome for one in statements if (outcome := self._outcome(one)) is not None
            }

    def _outcome(self, statement: RecordedStatement) -> Outcome | None:
        if statement in self._broken:
            return None
        if statement in self._sound:
            return self._planned(statement)
        try:
            with self._savepoint():
                outcome = self._planned(statement)
        except DBAPIError as error:
            if locks.is_locked(error):
                raise
            self._broken.add(statement)
            return None
        self._sound.add(statement)
        return outcome

    def _planned(self, statement: RecordedStatement) -> Outcome:
        cost, used = 0.0, set[str]()
        for sample in statement.samples:
            (plan,) = self._explain(sample)
            cost += plan["Plan"]["Total Cost"]
            used |= self._used(plan)
        return Outcome(cost / max(len(statement.samples), 1), frozenset(used))

    def _used(self, plan: Mapping[str, Any]) -> set[str]:
        """Return the indexes of a plan, those of partitions by the name of their whole."""
        if self._wholes is None:
            self._wholes = dict(map(tuple, self._run(_WHOLES)))
        names = [node["Index Name"] for node in _nodes(plan) if "Index Name" in node]
        return {self._wholes.get(name, name) for name in names}

    def measure(self, statement: RecordedStatement, shown: Collection[Index]) -> float:
        """Execute it under EXPLAIN ANALYZE, the best of three for each set of parameters."""
        with self._only(shown, NO_INDEXES):
            return best_of_three(statement.samples, self._seconds)

    def _seconds(self, sample: Sample) -> float:
        with self._savepoint():
            (plan,) = self._explain(sample, "ANALYZE, TIMING OFF, ")
        return float(plan["Execution Time"]) / 1000

    def plan(self, statement: RecordedStatement, shown: Collection[Index]) -> str:
        """Return the plan for the last set of parameters."""
        with self._only(shown, NO_INDEXES):
            (plan,) = self._explain(statement.samples[-1])
            return " > ".join(_words(plan))

    def needs_values(self, statement: RecordedStatement, index: Index) -> bool:
        """Ask for the generic plan, with this index alone; False where there are no parameters."""
        sample = statement.samples[-1]
        if not isinstance(sample.parameters, Mapping) or not sample.parameters:
            return False
        places = {name: f"${number}" for number, name in enumerate(sample.parameters, start=1)}
        try:
            with self._only([index], NO_INDEXES):
                # The driver's own placeholders are those of Python's %.
                plan = self._run(f"EXPLAIN (GENERIC_PLAN, FORMAT JSON) {sample.sql % places}")
                return index.name not in self._used(_loaded(plan)[0])
        except (DBAPIError, KeyError, TypeError, ValueError):
            return False  # before PostgreSQL 16, or a driver that has other placeholders

    def answer(self, sample: Sample) -> list[Any]:
        """Execute a statement of its own text, and return its first rows."""
        with self._savepoint():
            rows = self._execute(sample.sql, sample.parameters)
            return [tuple(row) for row in rows.fetchmany(MOST_ROWS)]

    def _explain(self, sample: Sample, options: str = "") -> Any:
        return self._json(f"EXPLAIN ({options}FORMAT JSON) {sample.sql}", sample.parameters)

    def _json(self, sql: str, parameters: Any) -> Any:
        return _loaded(self._execute(sql, parameters))

    @contextmanager
    def _only(self, shown: Collection[Index], hidden: Collection[str]) -> Iterator[None]:
        names = [self._index_name(one) for one in self._built if one not in shown]
        with self._savepoint():
            if names or hidden:
                self._hide([*names, *hidden])
            yield

    def _hide(self, names: Collection[str]) -> None:
        """Keep indexes from the planner until the savepoint is rolled back.

        A superuser can call them invalid, which disturbs nobody. Others drop them, and wait for
        each transaction that reads the table.
        """
        if self._is_superuser:
            every = (AND_PARTS.format(name=name.replace("'", "''")) for name in names)
            listed = " UNION ".join(every)
            self._run(f"UPDATE pg_index SET indisvalid = false WHERE indexrelid IN ({listed})")
        else:
            self._run(f"DROP INDEX {', '.join(names)}")

    @contextmanager
    def _savepoint(self, *, keep: bool = False) -> Iterator[None]:
        savepoint = self._connection.begin_nested()
        try:
            yield
        except BaseException:
            savepoint.rollback()
            raise
        if keep:
            savepoint.commit()
        else:
            savepoint.rollback()

    def _execute(self, sql: str, parameters: Any) -> Any:
        if parameters is None:
            return self._run(sql)
        return self._connection.exec_driver_sql(sql, parameters)

    def _run(self, sql: str) -> Any:
        options = {"no_parameters": True}
        return self._connection.exec_driver_sql(sql, execution_options=options)

    def _name(self, table: Table) -> str:
        return self._quote.format_table(table)

    def _regclass(self, table: Table) -> str:
        return self._name(table).replace("'", "''")

    def _index_name(self, index: Index) -> str:
        name = self._quote.quote(index.name)
        schema = index.table.schema
        return f"{self._quote.quote_schema(schema)}.{name}" if schema else name


def _loaded(explained: Any) -> Any:
    plan = explained.scalar_one()
    return json.loads(plan) if isinstance(plan, str) else plan


def _nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    stack = [plan["Plan"]]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(node.get("Plans", ()))


def _words(plan: Mapping[str, Any]) -> Iterator[str]:
    """Yield the steps of a plan by their kinds and names: conditions would show values."""
    for node in _nodes(plan):
        names = [str(node[key]) for key in _NAMES if key in node][:1]
        yield " on ".join([str(node["Node Type"]), *names])


def reason_of(error: DBAPIError) -> str:
    """Return the first line of what the database says."""
    return str(error.orig).strip().partition("\n")[0]
