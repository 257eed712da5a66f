"""Cascades: what the database itself asks when a referenced row is deleted or its key changes.

PostgreSQL does it inside of a trigger, so that no plan of a statement shows it. Each foreign key
without an index is then a walk through the whole referencing table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sqlalchemy import Column, ForeignKeyConstraint, Table, and_, bindparam, literal, select
from sqlalchemy.engine import Engine
from sqlalchemy.sql.dml import Delete, Update

from flask_perfkit.advice.asked import plain_dialect
from flask_perfkit.advice.index import schema_and_name
from flask_perfkit.advice.planners.planner import Planner
from flask_perfkit.advice.statement.terms import table_of
from flask_perfkit.advice.workload import RecordedStatement, Sample


def cascades_of(
    statements: Iterable[RecordedStatement], planner: Planner
) -> Iterator[RecordedStatement]:
    """Yield what deletes and changed keys make the database ask of the tables that refer to them.

    A delete that cascades goes on to the tables that refer to the second one.
    """
    for recorded in statements:
        tree = recorded.tree
        table = table_of(tree.table) if isinstance(tree, Delete | Update) else None
        if table is None:
            continue
        if isinstance(tree, Delete):
            times = max(recorded.rows, recorded.count)
            yield from _below(table, recorded, times, planner, {table})
        else:
            changed = {getattr(key, "name", key) for key in (tree._values or {})}
            for key in references_to(table):
                if changed & {one.column.name for one in key.elements}:
                    yield from _question(key, recorded, recorded.rows, planner)


def declared_cascades_of(
    tables: Iterable[Table], engine: Engine, planner: Planner
) -> Iterator[RecordedStatement]:
    """Yield what foreign keys ask that say what a delete does: so rows are meant to be deleted."""
    for table in tables:
        for key in table.foreign_key_constraints:
            if (key.ondelete or "").upper() not in ("CASCADE", "SET NULL", "SET DEFAULT"):
                continue
            parent = schema_and_name(key.referred_table)
            why = f"the foreign key to {parent}, ON DELETE {str(key.ondelete).upper()}"
            question = question_of(key, engine, planner, why)
            if question is not None:
                yield question


def references_to(table: Table) -> Iterator[ForeignKeyConstraint]:
    """Yield the foreign keys of the models that refer to a table."""
    for other in table.metadata.tables.values():
        for constraint in other.foreign_key_constraints:
            if constraint.elements and constraint.referred_table is table:
                yield constraint


def _below(
    table: Table, recorded: RecordedStatement, times: int, planner: Planner, seen: set[Table]
) -> Iterator[RecordedStatement]:
    for key in references_to(table):
        yield from _question(key, recorded, times, planner)
        child = key.table
        if (key.ondelete or "").upper() == "CASCADE" and child not in seen:
            yield from _below(child, recorded, times, planner, seen | {child})


def _question(
    key: ForeignKeyConstraint, recorded: RecordedStatement, times: int, planner: Planner
) -> Iterator[RecordedStatement]:
    """Yield the select that a trigger asks, for references that there are."""
    verb = "updates" if isinstance(recorded.tree, Update) else "deletes"
    parent = schema_and_name(key.referred_table)
    why = f"the foreign key to {parent}, when the application {verb} rows there"
    question = question_of(key, recorded.engine, planner, why)
    if question is not None:
        question.count = max(times, 1)
        yield question


def question_of(
    key: ForeignKeyConstraint, engine: Engine, planner: Planner, why: str
) -> RecordedStatement | None:
    """Return the select that looks for the rows which refer to a row; None where there are none."""
    columns: list[Column[object]] = list(key.columns)
    dialect = plain_dialect(engine.dialect)
    binds = [bindparam(f"key_{number}", type_=one.type) for number, one in enumerate(columns)]
    compared = and_(*(one == bind for one, bind in zip(columns, binds, strict=True)))
    tree = select(literal(1).label("found")).select_from(key.table).where(compared)
    compiled = tree.compile(dialect=dialect)
    question = RecordedStatement(compiled.string, engine, compiled, None, why, count=1)
    for row in planner.some(key.table, [one.name for one in columns]):
        values = {f"key_{number}": value for number, value in enumerate(row)}
        bound = tree.params(values)
        sql = str(bound.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
        question.add(Sample(sql, None, values, 0.0), 0, 0)
    return question if question.samples else None
