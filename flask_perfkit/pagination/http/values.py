"""How the text of a query parameter becomes a value of a column's type."""

from __future__ import annotations

import decimal
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Any, get_args, get_type_hints
from uuid import UUID

from marshmallow import ValidationError, fields, validate
from sqlalchemy import BigInteger, Enum, Integer, SmallInteger, String, TypeDecorator
from sqlalchemy.engine.default import DefaultDialect

from flask_perfkit.pagination.statement.visibility import python_type_of

if TYPE_CHECKING:
    from sqlalchemy.types import TypeEngine

_LARGEST_EXPONENT = 1_000
_MOST_DIGITS = 1_000
_LONGEST_TEXT = 1_000
_DIALECT = DefaultDialect()


def field_of(where: str, kind: TypeEngine[Any]) -> fields.Field[Any]:
    """Return the marshmallow field that reads values of a type.

    :param where: how the declaration is called in errors: ``filters['since']``.
    :raises TypeError: no text can be read as a value of the type.
    """
    stored = _stored_type(kind)
    if isinstance(stored, Enum) and not _converts(kind):
        if stored.enum_class is not None:
            return fields.Enum(stored.enum_class)
        return fields.String(validate=validate.OneOf(stored.enums))
    read = _FIELDS.get(value_type_of(kind))
    if read is None:
        raise TypeError(
            f"{where}: values of type {kind!r} cannot be read from a query parameter; "
            "cast the column to a type that can, such as String"
        )
    field = read(stored)
    if isinstance(kind, TypeDecorator) and _converts(kind):
        field.validators.append(_StoredValue(kind))
    return field


def value_type_of(kind: TypeEngine[Any]) -> type:
    """Return the Python type that a type's values have in the application.

    A TypeDecorator says it by ``python_type``, by ``TypeDecorator[Decimal]`` or by what its
    ``process_result_value`` returns; else it is taken to leave values as its column has them.
    """
    if not isinstance(kind, TypeDecorator):
        return python_type_of(kind)
    if type(kind).python_type is not TypeDecorator.python_type:
        return python_type_of(kind)
    return _declared_type(type(kind)) or value_type_of(kind.impl_instance)


def _declared_type(kind: type[TypeDecorator[Any]]) -> type | None:
    for owner in kind.__mro__:
        for base in getattr(owner, "__orig_bases__", ()):
            for argument in get_args(base):
                if isinstance(argument, type):
                    return argument
    try:
        returned = get_type_hints(kind.process_result_value).get("return")
    except (NameError, TypeError):  # a name that only type checkers see
        return None
    options = [option for option in get_args(returned) or (returned,) if option is not type(None)]
    return options[0] if len(options) == 1 and options[0] in _FIELDS else None


def _stored_type(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    while isinstance(kind, TypeDecorator):
        kind = kind.impl_instance
    return kind


def _converts(kind: TypeEngine[Any]) -> bool:
    return isinstance(kind, TypeDecorator) and (
        type(kind).process_bind_param is not TypeDecorator.process_bind_param
    )


def _bits(kind: TypeEngine[Any]) -> int:
    return 16 if isinstance(kind, SmallInteger) else 64 if isinstance(kind, BigInteger) else 32


class _StoredValue(validate.Validator):
    """What a TypeDecorator makes of a value must be one that its column can have."""

    def __init__(self, kind: TypeDecorator[Any]) -> None:
        self._kind = kind

    def __call__(self, value: Any) -> Any:
        try:
            stored = self._kind.process_bind_param(value, _DIALECT)
        except Exception:
            raise ValidationError("Not a valid value.") from None
        kind = _stored_type(self._kind)
        if isinstance(kind, Integer) and isinstance(stored, int):
            limit = 2 ** (_bits(kind) - 1)
            validate.Range(min=-limit, max=limit - 1)(stored)
        return value


def _integer(kind: TypeEngine[Any]) -> fields.Field[Any]:
    limit = 2 ** (_bits(kind) - 1)
    return fields.Integer(validate=validate.Range(min=-limit, max=limit - 1))


def _string(kind: TypeEngine[Any]) -> fields.Field[Any]:
    longest = (kind.length if isinstance(kind, String) else None) or _LONGEST_TEXT
    return fields.String(validate=[_without_null_characters, validate.Length(max=longest)])


def _without_null_characters(text: str) -> None:
    if "\0" in text:
        raise ValidationError("Null characters are not allowed.")


def _of_sane_size(number: decimal.Decimal) -> None:
    is_long = len(number.as_tuple().digits) > _MOST_DIGITS
    if is_long or (number and abs(number.adjusted()) > _LARGEST_EXPONENT):
        raise ValidationError("Not a valid number.")


def _without_offset(clock: time) -> None:
    if clock.tzinfo is not None:
        raise ValidationError("Must have no offset.")


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
    str: _string,
    date: lambda _: fields.Date(),
    datetime: lambda kind: _Moment(aware=getattr(kind, "timezone", False)),
    time: lambda kind: fields.Time(
        validate=[] if getattr(kind, "timezone", False) else _without_offset
    ),
    UUID: lambda _: fields.UUID(),
}
