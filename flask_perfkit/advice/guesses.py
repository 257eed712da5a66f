"""The same statements for the value that is most common: an audit asks for what it finds first.

An index that sorts is worth nothing to an owner of three rows, and much to one of three thousand.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import literal
from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.elements import BinaryExpression, BindParameter, ColumnClause
from sqlalchemy.sql.selectable import Select

from flask_perfkit.advice.asked import plain_dialect
from flask_perfkit.advice.planners.planner import Planner
from flask_perfkit.advice.statement.terms import column_of, replaced, table_of, unwrapped
from flask_perfkit.advice.workload import RecordedStatement, Sample
from flask_perfkit.faults import log_once

_PART = 10
"""One request in so many is counted as one for the most common value."""


def common_of(recorded: RecordedStatement, planner: Planner) -> Iterator[RecordedStatement]:
    """Yield a select with its compared values replaced by the most common of their columns."""
    if not isinstance(recorded.tree, Select) or len(recorded.samples) != 1:
        return
    try:
        found = _common(recorded, planner)
    except Exception:
        log_once("asking for common values")
        return
    if found is not None:
        yield found


def _common(recorded: RecordedStatement, planner: Planner) -> RecordedStatement | None:
    (sample,) = recorded.samples
    names = recorded.compiled.bind_names
    values: dict[Any, Any] = {}
    for clause in visitors.iterate(recorded.tree):
        compared = _compared(clause)
        if compared is not None:
            column, bind = compared
            value = planner.common(table_of(column.table), column_of(column))
            if value is not None:
                values[bind] = value
    if not values:
        return None

    def instead(element: Any) -> Any:
        if not isinstance(element, BindParameter) or element.expanding:
            return None
        name = names.get(element)
        value = values.get(element, sample.values.get(name))
        return literal(value, element.type)

    tree = replaced(recorded.tree, instead)
    dialect = plain_dialect(recorded.engine.dialect)
    compiled = tree.compile(dialect=dialect)
    sql = str(tree.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    found = RecordedStatement(
        compiled.string, recorded.engine, compiled, recorded.endpoint, recorded.place
    )
    found.add(Sample(sql, None, dict(compiled.params), 0.0), 0, 0)
    found.count = max(recorded.count // _PART, 1)
    return found


def _compared(clause: Any) -> tuple[ColumnClause[Any], BindParameter[Any]] | None:
    """Return column and value of an equality between them."""
    if not isinstance(clause, BinaryExpression) or clause.operator is not operators.eq:
        return None
    column, bind = unwrapped(clause.left), unwrapped(clause.right)
    if isinstance(column, BindParameter):
        column, bind = bind, column
    if not (isinstance(column, ColumnClause) and isinstance(bind, BindParameter)):
        return None
    if table_of(column.table) is None or column_of(column) is None:
        return None
    return column, bind
