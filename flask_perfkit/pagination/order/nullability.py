"""Which terms of an order may be NULL: that depends on the query, not on the column alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, Null, Table
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BinaryExpression, Over
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.selectable import Alias

from flask_perfkit.pagination.order.froms import conditions

if TYPE_CHECKING:
    from sqlalchemy import Select

    from flask_perfkit.pagination.order.froms import Froms
    from flask_perfkit.pagination.order.terms import Expression

_NEVER_NULL_FUNCTIONS = frozenset({"count", "row_number", "rank", "dense_rank"})
_REFUSE_NULL = frozenset(
    {operators.eq, operators.lt, operators.le, operators.gt, operators.ge, operators.ne}
)


def may_be_null(expression: Expression, statement: Select[Any], froms: Froms) -> bool:
    """Whether the expression may be NULL in a row of the statement.

    True where it is not known: an outer join makes NULLs of a NOT NULL column.
    """
    if isinstance(expression, Over):
        expression = expression.element
    if isinstance(expression, FunctionElement):
        return expression.name not in _NEVER_NULL_FUNCTIONS
    if not isinstance(expression, Column):
        return True
    table = expression.table
    is_declared = isinstance(table.element if isinstance(table, Alias) else table, Table)
    is_there = table in froms.sources and table not in froms.optional
    if is_declared and not expression.nullable and is_there:
        return False
    return not any(_refuses_null(condition, expression) for condition in conditions(statement))


def _refuses_null(condition: Any, column: Column[Any]) -> bool:
    if not isinstance(condition, BinaryExpression):
        return False
    if condition.operator is operators.is_not:
        return condition.left is column and isinstance(condition.right, Null)
    return condition.operator in _REFUSE_NULL and any(
        hash(side) == hash(column) for side in (condition.left, condition.right)
    )
