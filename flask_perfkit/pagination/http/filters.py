"""Filters: query parameters that narrow a list, each a column and an operator."""

from __future__ import annotations

import decimal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Any
from uuid import UUID

from marshmallow import ValidationError, fields, validate
from sqlalchemy import BigInteger, Enum, SmallInteger, TypeDecorator, literal

from flask_perfkit.pagination.order.terms import element_of

if TYPE_CHECKING:
    from sqlalchemy import Select
    from sqlalchemy.orm import InstrumentedAttribute
    from sqlalchemy.sql.elements import ColumnElement
    from sqlalchemy.types import TypeEngine

    Column = ColumnElement[Any] | InstrumentedAttribute[Any]
    Filters = Mapping[str, Column | tuple[Column, str]]

_MOST_VALUES = 100
_LARGEST_EXPONENT = 1_000

_OPERATORS: dict[str, Callable[[Any, Any], ColumnElement[bool]]] = {
    "eq": lambda column, value: column == value,
    "ne": lambda column, value: column != value,
    "lt": lambda column, value: column < value,
    "le": lambda column, value: column <= value,
    "gt": lambda column, value: column > value,
    "ge": lambda column, value: column >= value,
    "in": lambda column, values: column.in_(values),
    "contains": lambda column, text: column.contains(text, autoescape=True),
    "startswith": lambda column, text: column.startswith(text, autoescape=True),
}


@dataclass(frozen=True)
class Filter:
    """What one query parameter does to a statement, and how its text is read."""

    column: ColumnElement[Any]
    operator: str
    field: fields.Field[Any]

    def condition(self, value: Any) -> ColumnElement[bool]:
        """Return the condition for the WHERE clause."""
        if isinstance(value, bool):
            # By itself SQLAlchemy compares True and False for equality only.
            value = literal(value, self.column.type)
        return _OPERATORS[self.operator](self.column, value)


def read_filters(declared: Filters) -> dict[str, Filter]:
    """Check a declaration such as ``{"since": (Document.uploaded_at, "ge")}``.

    A column alone stands for ``"eq"``. The column's type decides which values
    a parameter takes; ``"in"`` takes the parameter several times.

    :raises ValueError: an operator is unknown.
    :raises TypeError: values of the column's type cannot be read from text.
    """
    return {name: _read_filter(name, declaration) for name, declaration in declared.items()}


def narrow(
    statement: Select[Any], filters: Mapping[str, Filter], values: Mapping[str, Any]
) -> Select[Any]:
    """Return the statement with a condition for each filter that has a value."""
    conditions = [item.condition(values[name]) for name, item in filters.items() if name in values]
    return statement.where(*conditions) if conditions else statement


def _read_filter(name: str, declaration: Column | tuple[Column, str]) -> Filter:
    column, operator = declaration if isinstance(declaration, tuple) else (declaration, "eq")
    if operator not in _OPERATORS:
        raise ValueError(
            f"filters[{name!r}] has the operator {operator!r}; allowed are {', '.join(_OPERATORS)}"
        )
    element = element_of(column)
    field = _field(name, element.type)
    if operator == "in":
        field = fields.List(field, validate=validate.Length(min=1, max=_MOST_VALUES))
    return Filter(element, operator, field)


def _field(name: str, kind: TypeEngine[Any]) -> fields.Field[Any]:
    if isinstance(kind, Enum):
        if kind.enum_class is not None:
            return fields.Enum(kind.enum_class)
        return fields.String(validate=validate.OneOf(kind.enums))
    python_type = _python_type(kind)
    if python_type is object and isinstance(kind, TypeDecorator):
        return _field(name, kind.impl_instance)
    if python_type is datetime:
        return _Moment(aware=getattr(kind, "timezone", False))
    if python_type in _FIELDS:
        return _FIELDS[python_type](kind)
    raise TypeError(
        f"filters[{name!r}]: values of type {kind!r} cannot be read from a query parameter; "
        "cast the column to a type that can, such as String"
    )


def _python_type(kind: TypeEngine[Any]) -> type:
    try:
        return kind.python_type
    except NotImplementedError:  # SQLAlchemy 2.0; from 2.1 on it is object
        return object


def _integer(kind: TypeEngine[Any]) -> fields.Field[Any]:
    bits = 16 if isinstance(kind, SmallInteger) else 64 if isinstance(kind, BigInteger) else 32
    limit = 2 ** (bits - 1)
    return fields.Integer(validate=validate.Range(min=-limit, max=limit - 1))


def _without_null_characters(text: str) -> None:
    if "\0" in text:
        raise ValidationError("Null characters are not allowed.")


def _of_sane_size(number: decimal.Decimal) -> None:
    if number and abs(number.adjusted()) > _LARGEST_EXPONENT:
        raise ValidationError("Not a valid number.")


class _Moment(fields.AwareDateTime):
    """A moment in UTC; one without an offset is taken to be so already.

    :param aware: False for a column without a time zone, which is taken to hold UTC.
    """

    def __init__(self, *, aware: bool) -> None:
        super().__init__(default_timezone=UTC)
        self._aware = aware

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> datetime:
        moment = super()._deserialize(value, attr, data, **kwargs)
        try:
            moment = moment.astimezone(UTC)
        except OverflowError:  # year 1 or 9999, moved across its edge by an offset
            raise self.make_error("invalid", input=value, obj_type=self.OBJ_TYPE) from None
        return moment if self._aware else moment.replace(tzinfo=None)


_FIELDS: dict[type, Callable[[TypeEngine[Any]], fields.Field[Any]]] = {
    int: _integer,
    bool: lambda _: fields.Boolean(),
    float: lambda _: fields.Float(),
    decimal.Decimal: lambda _: fields.Decimal(validate=_of_sane_size),
    str: lambda _: fields.String(validate=_without_null_characters),
    date: lambda _: fields.Date(),
    time: lambda _: fields.Time(),
    UUID: lambda _: fields.UUID(),
}
