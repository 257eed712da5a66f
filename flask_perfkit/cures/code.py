"""Expressions of SQLAlchemy as Python code; no value is ever written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Column, Table
from sqlalchemy.orm import Mapper
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BinaryExpression, Grouping, Label, UnaryExpression
from sqlalchemy.sql.functions import FunctionElement

from flask_perfkit.recording.mappers import mapper_of

_BETWEEN = {
    operators.add: "+",
    operators.sub: "-",
    operators.mul: "*",
    operators.truediv: "/",
}


class Unwritable(Exception):
    """An expression that no code can be given for: it holds a value, or means an alias."""


def code_of(expression: Any) -> str:
    """Return an expression as code: ``User.name``, ``func.sum(Line.price * Line.quantity)``.

    :raises Unwritable: there is none.
    """
    annotations = getattr(expression, "_annotations", {})
    entity = annotations.get("parententity")
    if entity is not None:
        return _mapped(entity, annotations.get("proxy_key"))
    if isinstance(expression, Column):
        return _column(expression)
    if isinstance(expression, Label | Grouping):
        return code_of(expression.element)
    if isinstance(expression, FunctionElement):
        return f"func.{_name(expression)}({', '.join(_arguments(expression))})"
    if isinstance(expression, UnaryExpression):
        return _unary(expression)
    if isinstance(expression, BinaryExpression) and expression.operator in _BETWEEN:
        left, right = code_of(expression.left), code_of(expression.right)
        return f"{left} {_BETWEEN[expression.operator]} {right}"
    if isinstance(expression, Table):
        mapper = mapper_of(expression)
        return mapper.class_.__name__ if mapper is not None else expression.name
    raise Unwritable(type(expression).__name__)


def _mapped(entity: Any, key: str | None) -> str:
    if not isinstance(entity, Mapper):
        raise Unwritable("an alias")
    return f"{entity.class_.__name__}.{key}" if key is not None else entity.class_.__name__


def _column(column: Column[Any]) -> str:
    table = column.table
    if not isinstance(table, Table):
        raise Unwritable("a column of an alias")
    mapper = mapper_of(table)
    if mapper is None:
        return f"{table.name}.c.{column.key}"
    if column not in mapper.columns.values():
        raise Unwritable("a column that is not mapped")
    return f"{mapper.class_.__name__}.{mapper.get_property_by_column(column).key}"


def _name(function: Any) -> str:
    if getattr(function, "packagenames", ()):
        raise Unwritable("a function of a package")
    return str(function.name)


def _arguments(function: Any) -> Iterator[str]:
    for argument in function.clauses:
        if getattr(argument, "name", None) != "*":
            yield code_of(argument)


def _unary(expression: Any) -> str:
    inner = code_of(expression.element)
    if expression.modifier is operators.desc_op:
        return f"{inner}.desc()"
    if expression.modifier is operators.asc_op:
        return f"{inner}.asc()"
    if expression.operator is operators.distinct_op:
        return f"distinct({inner})"
    raise Unwritable(str(expression.operator))
