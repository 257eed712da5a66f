"""Rewrites: conditions that hide a column from its index, written so that they do not.

A day of a date function becomes a half-open range of the column itself, which a plain index
serves. Each rewrite is executed beside the original, and counts only if the rows are the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any

from sqlalchemy import DateTime, Table, and_, bindparam, literal
from sqlalchemy import types as sqltypes
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.elements import (
    BinaryExpression,
    BindParameter,
    Cast,
    ColumnClause,
    Extract,
)
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.selectable import Select

from flask_perfkit.advice.asked import plain_dialect, scope_of
from flask_perfkit.advice.planners.planner import Planner
from flask_perfkit.advice.statement.terms import column_of, replaced, table_of, unwrapped
from flask_perfkit.advice.workload import RecordedStatement, Sample
from flask_perfkit.faults import log_once


@dataclass(frozen=True)
class Rewritten:
    """A statement and its like: ``before`` and ``after`` are the condition in words."""

    original: RecordedStatement
    statement: RecordedStatement
    table: Table
    before: str
    after: str


def rewritten_of(recorded: RecordedStatement, planner: Planner) -> Rewritten | None:
    """Return a statement with its date conditions as ranges; None where it has none, or differs."""
    if not isinstance(recorded.tree, Select):
        return None
    try:
        return _rewritten(recorded, planner)
    except Exception:
        log_once("rewriting a condition")
        return None


def _rewritten(recorded: RecordedStatement, planner: Planner) -> Rewritten | None:
    clauses: list[Any] = [
        each for each in visitors.iterate(recorded.tree) if _column(each) is not None
    ]
    if not clauses:
        return None
    samples = []
    for sample in recorded.samples:
        tree: Any = _with_ranges(recorded, sample, clauses)
        if tree is None:
            return None
        dialect = plain_dialect(recorded.engine.dialect)
        compiled = tree.compile(dialect=dialect)
        sql = str(tree.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
        ours = Sample(sql, None, dict(compiled.params), sample.seconds)
        if sorted(map(repr, planner.answer(sample))) != sorted(map(repr, planner.answer(ours))):
            return None
        samples.append((compiled, ours))
    if not samples:
        return None
    compiled = samples[0][0]
    statement = RecordedStatement(
        compiled.string, recorded.engine, compiled, recorded.endpoint, recorded.place
    )
    for _, ours in samples:
        statement.add(ours, 0, 0)
    statement.count = recorded.count
    column, unit = _column(clauses[0]) or (None, "")
    table = table_of(column.table) if column is not None else None
    if column is None or table is None:
        return None
    name = column_of(column)
    before = str(clauses[0].compile(dialect=DefaultDialect()))
    after = f"{name} >= :start AND {name} < :start + 1 {unit}"
    return Rewritten(recorded, statement, table, before, after)


def _with_ranges(recorded: RecordedStatement, sample: Sample, clauses: list[Any]) -> Any:
    """Return the statement with this sample's values and ranges in the place of the clauses."""
    scope = scope_of(recorded)
    names = scope.compiled.bind_names
    ranges = {}
    for clause in clauses:
        column, unit = _column(clause) or (None, "")
        bind = unwrapped(clause.right)
        value = sample.values.get(names.get(bind, bind.key))
        bounds = _bounds(value, unit)
        if column is None or bounds is None:
            return None
        kind = column.type if isinstance(column.type, DateTime) else DateTime()
        start, end = (literal(each, kind) for each in bounds)
        ranges[clause] = and_(column >= start, column < end)

    def instead(element: Any) -> Any:
        if element in ranges:
            return ranges[element]
        if isinstance(element, BindParameter) and names.get(element) in sample.values:
            value = sample.values[names[element]]
            if element.expanding:
                return bindparam(None, value, element.type, expanding=True) if value else None
            return literal(value, element.type)
        return None

    return replaced(recorded.tree, instead)


def _column(clause: Any) -> tuple[ColumnClause[Any], str] | None:
    """Return the column whose day, month or year a clause compares with one value, and which."""
    if not isinstance(clause, BinaryExpression) or clause.operator is not operators.eq:
        return None
    left, right = unwrapped(clause.left), unwrapped(clause.right)
    if isinstance(right, Cast):
        right = unwrapped(right.clause)
    if not isinstance(right, BindParameter):
        return None
    found, unit = _unit(left)
    if not isinstance(found, ColumnClause) or not isinstance(_plain(found.type), DateTime):
        return None
    return (found, unit) if column_of(found) is not None else None


def _plain(kind: Any) -> Any:
    return kind.impl_instance if isinstance(kind, sqltypes.TypeDecorator) else kind


def _unit(element: Any) -> tuple[Any, str]:
    if isinstance(element, Cast) and isinstance(element.type, sqltypes.Date):
        return unwrapped(element.clause), "day"
    if isinstance(element, Extract) and element.field == "year":
        return unwrapped(element.expr), "year"
    if isinstance(element, FunctionElement) and getattr(element, "name", "") == "date":
        arguments = list(element.clauses)
        return (unwrapped(arguments[0]), "day") if len(arguments) == 1 else (None, "")
    return None, ""


def _bounds(value: Any, unit: str) -> tuple[datetime, datetime] | None:
    """Return the first moment of a day or year, and that of the next."""
    if unit == "year" and isinstance(value, int) and 1 <= value < 9999:
        return datetime(value, 1, 1), datetime(value + 1, 1, 1)
    if unit != "day":
        return None
    if isinstance(value, str):
        try:
            value = date.fromisoformat(value)
        except ValueError:
            return None
    if isinstance(value, datetime) or not isinstance(value, date):
        return None
    start = datetime.combine(value, time())
    return start, start + timedelta(days=1)
