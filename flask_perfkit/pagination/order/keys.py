"""How a sort value goes to the client and comes back as just what the database compares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    JSON,
    Double,
    Enum,
    Float,
    Integer,
    Interval,
    Text,
    TypeDecorator,
    bindparam,
    cast,
    type_coerce,
)
from sqlalchemy.dialects.mysql import SET
from sqlalchemy.dialects.postgresql import INTERVAL, JSONB
from sqlalchemy.sql.elements import ColumnClause, Grouping
from sqlalchemy.types import NullType, UserDefinedType

if TYPE_CHECKING:
    from sqlalchemy.types import TypeEngine

    from flask_perfkit.pagination.order.dialects import Ways
    from flask_perfkit.pagination.order.terms import Expression


class _AsStored(UserDefinedType[Any]):
    """A value as the driver returns and takes it, whatever type the column says it has.

    It goes there and back unchanged, which is more than Enum, Interval,
    TypeDecorator, Numeric on SQLite or the Integer of extract() promise.
    """

    cache_ok = True


AS_STORED = _AsStored()


def stored_type(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    """Return the type that the database knows."""
    while isinstance(kind, TypeDecorator) and not isinstance(kind, Interval):
        kind = kind.impl_instance
    return kind


def read_key(value: Expression, ways: Ways) -> Expression:
    """Return what a page selects of a sort value, for its cursors.

    PostgreSQL has types without end, and drivers round some of them: intervals of months, single
    floats, JSON. Its own text loses nothing, and a text whose type nobody names becomes the type
    that it is compared with.

    :raises ValueError: the driver has no value for it that comes back as it was.
    """
    raw = type_coerce(value, AS_STORED)
    if ways.reads_text_as_any_type:
        return cast(raw, Text)
    kind = stored_type(value.type)
    if ways.rounds_intervals and isinstance(kind, Interval | INTERVAL):
        raise ValueError(
            f"a cursor cannot carry {value} by asyncpg, which rounds the months of an interval: "
            "use psycopg, or sort by a number of seconds"
        )
    if ways.enums_are_numbers and (isinstance(kind, SET) or _is_native_enum(kind)):
        return type_coerce(value, Integer) + 0
    # A single-precision column is compared with doubles by its exact value, not by its text.
    if isinstance(kind, Float) and not ways.floats_are_double:
        return cast(raw, Double)
    return raw


def compared(value: Expression) -> Expression:
    """Return a sort value as conditions compare it."""
    # What an operator beside it would take apart, such as a NOT, is kept together.
    whole = value if isinstance(value, ColumnClause) else Grouping(value)
    return type_coerce(whole, AS_STORED)


def bound_key(name: str, value: Expression, ways: Ways) -> Expression:
    """Return the parameter that a sort value is compared with."""
    bound = bindparam(name, type_=AS_STORED)
    kind = stored_type(value.type)
    if ways.reads_text_as_any_type and isinstance(kind, UserDefinedType):
        # One of composite values is not found out from what it is compared with.
        return type_coerce(cast(bound, kind), AS_STORED)
    return bound


def comparable(value: Expression) -> Expression:
    """Return a column, or its text where the database may have no order for its type."""
    kind = stored_type(value.type)
    if isinstance(kind, NullType) or (isinstance(kind, JSON) and not isinstance(kind, JSONB)):
        return cast(type_coerce(value, AS_STORED), Text)
    return value


def _is_native_enum(kind: TypeEngine[Any]) -> bool:
    return isinstance(kind, Enum) and kind.native_enum
