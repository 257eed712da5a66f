"""Reads from PostgreSQL's catalog which indexes a table has, and why some of them must stay."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy.engine import Connection

from flask_perfkit.advice.planners.planner import ExistingIndex

_INDEXES = """
SELECT c.relname AS name, c.oid::regclass::text AS identifier, c.relkind = 'I' AS has_parts,
       pg_get_indexdef(i.indexrelid) AS sql, a.amname AS method,
       i.indisunique AS is_unique, i.indisprimary AS is_primary, i.indisexclusion AS excludes,
       i.indisreplident AS is_identity, i.indisclustered AS is_clustered, i.indisvalid AS is_valid,
       pg_get_expr(i.indpred, i.indrelid) AS predicate, i.indnkeyatts AS key_count,
       i.indclass::oid[] AS classes, i.indcollation::oid[] AS collations,
       i.indoption::int2[] AS options,
       ARRAY(SELECT pg_get_indexdef(i.indexrelid, n, true)
             FROM generate_series(1, i.indnatts) n) AS terms,
       EXISTS (SELECT FROM pg_constraint WHERE conindid = i.indexrelid) AS constrains,
       EXISTS (SELECT FROM pg_inherits WHERE inhrelid = i.indexrelid) AS is_part
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam
WHERE i.indrelid = {oid} ORDER BY c.relname
"""


def existing_indexes(connection: Connection, oid: int) -> Iterator[ExistingIndex]:
    """Yield the indexes of a table, constraints' ones included."""
    for row in connection.exec_driver_sql(_INDEXES.format(oid=oid)).mappings():
        count = row["key_count"]
        kinds = zip(row["classes"], row["collations"], row["options"], strict=False)
        terms = row["terms"]
        yield ExistingIndex(
            name=row["name"],
            identifier=row["identifier"],
            sql=row["sql"],
            keys=tuple(zip(terms[:count], kinds, strict=False)),
            columns=tuple(term.strip('"') for term in terms[:count]),
            include=frozenset(terms[count:]),
            where=row["predicate"],
            method=row["method"],
            unique=row["is_unique"],
            valid=row["is_valid"],
            pinned=_pinned(row),
        )


def _pinned(row: Any) -> str:
    """Say why an index must stay whatever the planner thinks of it."""
    reasons = {
        "it is the primary key": row["is_primary"],
        "it is a replica identity": row["is_identity"],
        "a constraint needs it": row["constrains"] or row["excludes"],
        "it keeps values unique": row["is_unique"],
        "the table is clustered by it": row["is_clustered"],
        "it belongs to the index of a partitioned table": row["is_part"],
        "the table is partitioned, and drops no index beside its readers": row["has_parts"],
    }
    return next((reason for reason, holds in reasons.items() if holds), "")
