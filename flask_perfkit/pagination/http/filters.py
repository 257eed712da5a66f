"""Filters: query parameters that narrow a list, each a column and an operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from marshmallow import fields, validate
from sqlalchemy import literal

from flask_perfkit.pagination.http.values import field_of, value_type_of
from flask_perfkit.pagination.order.relations import Reached, element_of, read_reached

if TYPE_CHECKING:
    from sqlalchemy import Select
    from sqlalchemy.sql.elements import ColumnElement

    from flask_perfkit.pagination.order.relations import Column

    Filters = Mapping[str, Column | tuple[Any, ...]]

_MOST_VALUES = 100

_Operator = Callable[[Any, Any], "ColumnElement[bool]"]
_OF_TEXT: dict[str, _Operator] = {
    "contains": lambda column, text: column.contains(text, autoescape=True),
    "startswith": lambda column, text: column.startswith(text, autoescape=True),
}
_OPERATORS: dict[str, _Operator] = {
    "eq": lambda column, value: column == value,
    "ne": lambda column, value: column != value,
    "lt": lambda column, value: column < value,
    "le": lambda column, value: column <= value,
    "gt": lambda column, value: column > value,
    "ge": lambda column, value: column >= value,
    "in": lambda column, values: column.in_(values),
    **_OF_TEXT,
}


@dataclass(frozen=True)
class Filter:
    """What one query parameter does to a statement, and how its text is read."""

    reached: Reached
    operator: str
    field: fields.Field[Any]

    def condition(self, statement: Select[Any], value: Any) -> ColumnElement[bool]:
        """Return the condition for the WHERE clause of a statement.

        :raises ValueError: the statement does not read the column's table.
        """
        if isinstance(value, bool):
            # By itself SQLAlchemy compares True and False for equality only.
            value = literal(value, element_of(self.reached.column).type)
        compare = _OPERATORS[self.operator]
        return self.reached.condition(statement, lambda column: compare(column, value))


def read_filters(declared: Filters) -> dict[str, Filter]:
    """Check a declaration such as ``{"since": (Document.uploaded_at, "ge")}``.

    A column alone stands for ``"eq"``. The column's type decides which values
    a parameter takes; ``"in"`` takes the parameter several times. A relationship
    before the column leads to another table: ``(Document.user, User.name, "eq")``.

    :raises ValueError: an operator is unknown, or the column's type does not have it.
    :raises TypeError: something is no column, or its values cannot be read from text.
    """
    if not isinstance(declared, Mapping):
        raise TypeError(
            f"filters={declared!r:.80} is a {type(declared).__name__}: must be a mapping of query "
            'parameters to columns, such as {"since": (Document.uploaded_at, "ge")}'
        )
    return {name: _read_filter(name, declaration) for name, declaration in declared.items()}


def narrow(
    statement: Select[Any], filters: Mapping[str, Filter], values: Mapping[str, Any]
) -> Select[Any]:
    """Return the statement with a condition for each filter that has a value."""
    conditions = [
        item.condition(statement, values[name]) for name, item in filters.items() if name in values
    ]
    return statement.where(*conditions) if conditions else statement


def _read_filter(name: str, declaration: Any) -> Filter:
    where = f"filters[{name!r}]"
    if not isinstance(name, str) or not name:
        raise TypeError(f"filters has the key {name!r:.80}: must be a query parameter's name")
    columns: Sequence[Any] = declaration if isinstance(declaration, tuple) else (declaration,)
    operator = "eq"
    if columns and isinstance(columns[-1], str):
        *columns, operator = columns
        if not columns:
            raise TypeError(f"{where} is {declaration!r:.80}: must be a column or begin with one")
    reached = read_reached(tuple(columns), where)
    kind = element_of(reached.column).type
    field = field_of(where, kind)
    if operator not in _OPERATORS:
        raise ValueError(
            f"{where} has the operator {operator!r}; allowed are {', '.join(_OPERATORS)}"
        )
    if operator in _OF_TEXT and value_type_of(kind) is not str:
        raise ValueError(
            f"{where} has the operator {operator!r}, which {kind!r} does not have; allowed are "
            f"{', '.join(key for key in _OPERATORS if key not in _OF_TEXT)}"
        )
    if operator == "in":
        field = fields.List(field, validate=validate.Length(min=1, max=_MOST_VALUES))
    return Filter(reached, operator, field)
