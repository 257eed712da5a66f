"""HypoPG: an extension whose indexes only the planner of one session sees, so nothing is built."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Table
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from flask_perfkit.advice.index import Index
from flask_perfkit.advice.planners.planner import ExistingIndex
from flask_perfkit.advice.planners.postgresql import PostgreSQL, reason_of
from flask_perfkit.advice.workload import RecordedStatement
from flask_perfkit.errors import SetupError

_SCHEMA = """
SELECT extnamespace::regnamespace::text FROM pg_extension
WHERE extname = 'hypopg' AND has_schema_privilege(extnamespace, 'USAGE')
"""


class HypoPG(PostgreSQL):
    """Plans with indexes that are not there; reads only, and needs no right but to read.

    Indexes that are there cannot be hidden, as that came with HypoPG 1.4, so that none is offered
    for dropping.

    :param schema: where the extension's functions are, as SQL has it.
    """

    how = "planned with hypopg: nothing was built"

    def __init__(self, connection: Connection, schema: str) -> None:
        super().__init__(connection)
        self._schema = schema
        self._sizes: dict[Index, int] = {}
        self._names: dict[str, str] = {}

    def close(self) -> None:
        """Forget the indexes, which outlive a transaction."""
        super().close()
        self._run(f"SELECT {self._schema}.hypopg_reset()")
        super().close()

    def existing(self, table: Table) -> tuple[ExistingIndex, ...]:
        """Return none: what cannot be hidden cannot be tried to do without."""
        return ()

    def build(self, indexes: Collection[Index]) -> Mapping[Index, str]:
        """See which indexes HypoPG knows, and how large it takes them to be."""
        refused = {}
        for index in indexes:
            if index.method != "btree":
                refused[index] = "hypopg tries B-trees only: --method ghost tries others"
                continue
            try:
                with self._savepoint():
                    self._sizes[index] = self._create(index)
            except DBAPIError as error:
                refused[index] = reason_of(error)
            else:
                self._built.append(index)
        return refused

    def size(self, index: Index) -> int:
        """Return the bytes that HypoPG takes an index to have."""
        return self._sizes[index]

    def measure(self, statement: RecordedStatement, shown: Collection[Index]) -> float:
        """Refuse: no index is there to be read.

        :raises SetupError: always.
        """
        raise SetupError("hypopg builds nothing to measure: leave out verify, or build")

    def _analyse(self, table: Table) -> None:
        """Do nothing: that would write."""

    @contextmanager
    def _only(self, shown: Collection[Index], hidden: Collection[str]) -> Iterator[None]:
        self._run(f"SELECT {self._schema}.hypopg_reset()")
        self._names = {}
        for index in self._built:
            if index in shown:
                self._create(index)
        with self._savepoint():
            yield

    def _create(self, index: Index) -> int:
        sql = index.create(self._connection.dialect).replace("'", "''")
        made = f"{self._schema}.hypopg_create_index('{sql}')"
        row = self._run(
            f"SELECT indexname, {self._schema}.hypopg_relation_size(indexrelid) FROM {made}"
        ).one()
        self._names[row[0]] = index.name
        return int(row[1])

    def _used(self, plan: Mapping[str, Any]) -> set[str]:
        return {self._names.get(name, name) for name in super()._used(plan)}


def schema_of_hypopg(connection: Connection) -> str | None:
    """Return where the extension is, as SQL has it; None where one may not use it."""
    schema: str | None = connection.exec_driver_sql(_SCHEMA).scalar()
    connection.rollback()
    return schema
