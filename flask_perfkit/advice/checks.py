"""Checks of a live schema that need no workload: they look at models and catalog only."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from sqlalchemy import MetaData, text
from sqlalchemy import types as sqltypes
from sqlalchemy.engine import Connection

from flask_perfkit.advice.check import Check
from flask_perfkit.advice.index import schema_and_name

LARGEST = 2**31 - 1
"""The last number that an ``integer`` of PostgreSQL can hold."""

_SEQUENCE = """
SELECT coalesce(last_value, 0) FROM pg_sequences
WHERE format('%I.%I', schemaname, sequencename)::regclass
      = pg_get_serial_sequence(:table, :column)::regclass
"""
_UNUSED = """
SELECT s.indexrelid::regclass::text AS name, s.relid::regclass::text AS table_name,
       pg_relation_size(s.indexrelid) AS bytes,
       coalesce(d.stats_reset, pg_postmaster_start_time()) AS since
FROM pg_stat_user_indexes s
JOIN pg_index i ON i.indexrelid = s.indexrelid
JOIN pg_stat_database d ON d.datname = current_database()
WHERE s.idx_scan = 0 AND NOT i.indisunique AND NOT i.indisexclusion AND NOT i.indisreplident
  AND i.indisvalid AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = i.indexrelid)
  AND NOT EXISTS (SELECT FROM pg_constraint f WHERE f.contype = 'f' AND f.conrelid = i.indrelid
                  AND f.conkey[1] = i.indkey[0])
ORDER BY 3 DESC
"""
_INVALID = """
SELECT indexrelid::regclass::text AS name, indrelid::regclass::text AS table_name
FROM pg_index WHERE NOT indisvalid ORDER BY 1
"""


def checks_of(
    connection: Connection, metadata: MetaData, *, unused_for: timedelta = timedelta(days=1)
) -> list[Check]:
    """Look at the models' keys and the database's indexes.

    SQLite's keys have 64 bits by nature, and it counts no reads.

    :param unused_for: how long an index must not have been read before that is said.
    """
    if connection.dialect.name != "postgresql":
        return []
    return [
        *_narrow_keys(connection, metadata),
        *_invalid_indexes(connection),
        *_unused_indexes(connection, unused_for),
    ]


def _narrow_keys(connection: Connection, metadata: MetaData) -> Iterator[Check]:
    """Yield the integer keys of 32 bits, with how many of their numbers are gone."""
    for table in metadata.sorted_tables:
        column = table.autoincrement_column
        if column is None or not isinstance(column.type, sqltypes.Integer):
            continue
        if isinstance(column.type, sqltypes.BigInteger):
            continue
        name = connection.dialect.identifier_preparer.format_table(table)
        values = {"table": name, "column": column.name}
        if connection.scalar(text("SELECT to_regclass(:table)"), values) is None:
            continue
        last = connection.scalar(text(_SEQUENCE), values) or 0
        used = 100 * int(last) / LARGEST
        yield Check(
            "narrow_key",
            f"{schema_and_name(table)}.{column.name}",
            f"has 32 bits, of which its sequence has used {used:.2g} % ({last:,} of {LARGEST:,})",
            "BigInteger in new tables; this one is rewritten under a lock, so plan it in time",
        )


def _unused_indexes(connection: Connection, unused_for: timedelta) -> Iterator[Check]:
    """Yield the indexes that nothing on this server has read.

    Those of a foreign key are left out: a cascade may walk them once a year.
    """
    for row in connection.exec_driver_sql(_UNUSED).mappings():
        if datetime.now(UTC) - row["since"] < unused_for:
            continue
        yield Check(
            "unused_index",
            row["name"],
            f"of {row['table_name']}, {row['bytes'] / 1024:,.0f} kB: not read on this server since "
            f"{row['since']:%Y-%m-%d %H:%M}; replicas are not seen",
            "drop it if that time holds all that reads it: reports of a month's end, replicas",
        )


def _invalid_indexes(connection: Connection) -> Iterator[Check]:
    """Yield what an interrupted concurrent build has left: written to and never read."""
    for row in connection.exec_driver_sql(_INVALID).mappings():
        yield Check(
            "invalid_index",
            row["name"],
            f"of {row['table_name']} is INVALID: it is written to and never read",
            f"DROP INDEX CONCURRENTLY {row['name']}, then build it again",
        )
