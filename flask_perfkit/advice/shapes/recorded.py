"""Makes recorded statements of shapes: their trees, with values that the database's rows have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, Date, MetaData, select
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.sql.dml import Insert
from sqlalchemy.sql.elements import BindParameter

from flask_perfkit.advice.asked import plain_dialect
from flask_perfkit.advice.shapes.databases import databases_of
from flask_perfkit.advice.shapes.expressions import Unreadable
from flask_perfkit.advice.shapes.reading import Reading, read
from flask_perfkit.advice.shapes.shape import StatementShape
from flask_perfkit.advice.workload import VARIES, RecordedStatement, Sample
from flask_perfkit.errors import SetupError

if TYPE_CHECKING:
    from flask import Flask

_NUMBERS = (int, float, Decimal)

Values = Mapping[BindParameter[Any], Any]


@dataclass(frozen=True)
class Unread:
    """A statement that counts for nothing, and why."""

    shape: StatementShape
    reason: str


def recorded_of(
    app: Flask, shapes: Iterable[StatementShape]
) -> tuple[list[RecordedStatement], list[Unread]]:
    """Return shapes as recorded statements, and those that could not be read.

    What is sent to the database is a SELECT that was built of the models' tables, whatever the
    shapes say. It needs an application context.

    :raises SetupError: the application has no Flask-SQLAlchemy, whose models are read.
    :raises ExtraMissing: sqlglot is not installed.
    """
    databases = databases_of(app)
    if not databases:
        raise SetupError("a recorded workload needs Flask-SQLAlchemy, whose models name its tables")
    recorded: list[RecordedStatement] = []
    unread: list[Unread] = []
    for shape in shapes:
        try:
            engine, reading = _read(shape.sql, databases)
            recorded += _recorded(shape, engine, reading)
        except Unreadable as error:
            unread.append(Unread(shape, str(error)))
    return recorded, unread


def _read(sql: str, databases: list[tuple[Engine, MetaData]]) -> tuple[Engine, Reading]:
    """Read a statement with the models of the first database that has its tables."""
    reasons = []
    for engine, metadata in databases:
        try:
            return engine, read(sql, metadata, engine.dialect.name)
        except Unreadable as error:
            reasons.append(error)
    raise reasons[0]


def _recorded(
    shape: StatementShape, engine: Engine, reading: Reading
) -> Iterator[RecordedStatement]:
    """Yield a SELECT with values; a write as it is, and a SELECT for the rows that it looks for."""
    tree = reading.tree
    if getattr(tree, "is_dml", False):
        yield _statement(shape, engine, tree)
        if isinstance(tree, Insert) or not tree._where_criteria:
            return
        tree = select(tree.table).where(*tree._where_criteria)
    found = _statement(shape, engine, tree)
    values = _values(engine, reading)
    if values is not None:
        bound = tree.params({bind.key: value for bind, value in values.items()})
        try:
            sql = bound.compile(
                dialect=plain_dialect(engine.dialect), compile_kwargs={"literal_binds": True}
            )
        except (SQLAlchemyError, TypeError, ValueError, AttributeError) as error:
            raise Unreadable("a value of it cannot be written as SQL") from error
        named = {**found.compiled.params, **{bind.key: value for bind, value in values.items()}}
        found.add(Sample(str(sql), None, named, 0.0), 0, 0)
        found.constants = {bind.key: VARIES for bind in reading.parameters}
    yield found


def _statement(shape: StatementShape, engine: Engine, tree: Any) -> RecordedStatement:
    compiled = tree.compile(dialect=plain_dialect(engine.dialect))
    return RecordedStatement(
        compiled.string,
        engine,
        compiled,
        None,
        shape.place,
        count=shape.count,
        rows=shape.rows,
        seconds=shape.seconds,
    )


def _values(engine: Engine, reading: Reading) -> Values | None:
    """Return a value for each parameter, those of a table from one row; None: it is empty."""
    by_table: dict[Any, dict[Column[Any], list[BindParameter[Any]]]] = {}
    for bind, column in reading.parameters.items():
        if column is not None:
            by_table.setdefault(column.table, {}).setdefault(column, []).append(bind)
    values: dict[BindParameter[Any], Any] = {}
    with engine.connect() as connection:
        for columns in by_table.values():
            row = _row(connection, list(columns))
            if row is None:
                return None
            for column, value in zip(columns, row, strict=True):
                values |= {bind: _fitting(bind, value) for bind in columns[column]}
    return values


def _row(connection: Connection, columns: list[Column[Any]]) -> Any:
    asked = select(*columns).where(*(column.is_not(None) for column in columns)).limit(1)
    try:
        return connection.execute(asked).first()
    except SQLAlchemyError as error:
        connection.rollback()
        raise Unreadable("the database does not have its columns") from error


def _fitting(bind: BindParameter[Any], value: Any) -> Any:
    """Return a column's value as what a function of the column is compared with."""
    if isinstance(bind.type, Date) and isinstance(value, datetime):
        return value.date()
    try:
        kind = bind.type.python_type
    except NotImplementedError:
        return value
    return kind(1) if kind in _NUMBERS and not isinstance(value, kind) else value
