"""Drift: what the models have and the database has not, and the other way round."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator
from typing import Any

from sqlalchemy import Column, MetaData, Table, inspect
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SAWarning

from flask_perfkit.advice.check import Check
from flask_perfkit.advice.index import schema_and_name

_MIGRATE = "flask db migrate writes what differs as a revision, flask db upgrade applies it"


def drift_of(
    connection: Connection, metadata: MetaData, *, advised: Collection[str] = ()
) -> Iterator[Check]:
    """Yield the tables, columns and indexes of only one side.

    An index is told by its name or its columns; what keeps values unique for a constraint, or is
    made of expressions, is left out.

    :param advised: names of indexes that are told already.
    """
    inspector = inspect(connection)
    for table in sorted(metadata.tables.values(), key=lambda one: one.key):
        name = schema_and_name(table)
        if not inspector.has_table(table.name, table.schema):
            yield _only_models(name, "the table")
            continue
        columns = {one["name"] for one in inspector.get_columns(table.name, table.schema)}
        for column in table.columns:
            if column.name not in columns:
                yield _only_models(f"{name}.{column.name}", "the column")
        for extra in sorted(columns - {column.name for column in table.columns}):
            yield _only_database(f"{name}.{extra}", "the column")
        with warnings.catch_warnings():  # of an expression, which SQLite does not report
            warnings.simplefilter("ignore", SAWarning)
            indexes = inspector.get_indexes(table.name, table.schema)
        yield from _indexes(table, indexes, advised)


def _indexes(table: Table, indexes: list[Any], advised: Collection[str]) -> Iterator[Check]:
    there = {
        one["name"]: tuple(one["column_names"])
        for one in indexes
        if not one.get("duplicates_constraint") and None not in one["column_names"]
    }
    known = {str(one.name): _columns(one) for one in table.indexes}
    for name, columns in sorted(known.items()):
        is_there = name in there or columns in there.values()
        if columns and not is_there and name not in advised:
            yield _only_models(name, f"the index of {table.name} ({', '.join(columns)})")
    for name, columns in sorted(there.items()):
        if name not in known and columns not in known.values():
            yield _only_database(name, f"the index of {table.name} ({', '.join(columns)})")


def _columns(index: Any) -> tuple[str, ...]:
    """Return an index's columns; none where one of them is an expression."""
    columns = [each for each in index.expressions if isinstance(each, Column)]
    return tuple(one.name for one in columns) if len(columns) == len(index.expressions) else ()


def _only_models(subject: str, what: str) -> Check:
    return Check("drift", subject, f"{what} is in the models and not in the database", _MIGRATE)


def _only_database(subject: str, what: str) -> Check:
    message = f"{what} is in the database and not in the models: the next revision drops it"
    return Check("drift", subject, message, "add it to the models, or drop it by a revision")
