"""What an entry depends on: tables and single column values, and the names of their tokens.

A dependency is kept as the names of tokens (see ``stores/tokens.py``). There are three kinds:
``documents`` changes with every write to the table, ``documents.user_id=7`` with every write
to a row that has or had that value, ``documents.*`` with every write whose rows are not known.
Beside these stands ``*``, which changes with every statement that is not understood.
Table names are taken without their schema and in lower case: a search path or a translated
schema may give one table two names, and dropping too much is harmless.
"""

from __future__ import annotations

import enum
import unicodedata
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from hashlib import blake2b
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy.orm import Mapper
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BinaryExpression, BindParameter, ColumnElement, False_, True_
from sqlalchemy.types import TypeEngine

ALLOWED = (
    "a mapped class, a table, a table's name, or one column compared with == to a value "
    "(Document.user_id == 7)"
)
ANYTHING = "*"
"""The token that a write changes whose tables cannot be told; each entry with tables has it."""

_LONGEST_INTEGER = 20


@dataclass(frozen=True)
class Dependencies:
    """The token names of an entry, its (table, column) pairs, and the tables given as text."""

    names: tuple[str, ...]
    columns: tuple[tuple[str, str], ...] = ()
    texts: tuple[str, ...] = ()


NONE = Dependencies(())


def dependencies(depends_on: Iterable[Any] | Dependencies) -> Dependencies:
    """Turn what a user wrote into token names.

    :raises TypeError: something is neither a table nor a column compared to a value.
    """
    if isinstance(depends_on, Dependencies):
        return depends_on
    if isinstance(depends_on, str | type | sa.sql.ClauseElement):
        raise TypeError(f"depends_on is {depends_on!r}; allowed is a list, each item {ALLOWED}")
    items = tuple(depends_on)
    if all(isinstance(item, str | type) for item in items):
        return _whole_tables(items)
    names: dict[str, None] = {}
    columns: dict[tuple[str, str], None] = {}
    for item in items:
        if isinstance(item, BinaryExpression):
            table, column, value = _compared(item)
            names |= {rows_token(table): None, value_token(table, column, value): None}
            columns[table, column] = None
        else:
            names |= dict.fromkeys(tables_of(item))
    return Dependencies(tuple(names), tuple(columns), _texts(items))


@lru_cache(maxsize=1024)
def _whole_tables(items: tuple[str | type, ...]) -> Dependencies:
    names = dict.fromkeys(name for item in items for name in tables_of(item))
    return Dependencies(tuple(names), texts=_texts(items))


def _texts(items: Iterable[Any]) -> tuple[str, ...]:
    return tuple(name for item in items if isinstance(item, str) for name in tables_of(item))


@lru_cache(maxsize=1024)
def with_anything(needs: Dependencies) -> Dependencies:
    """Add what every entry with tables depends on: statements that are not understood."""
    if not needs.names or ANYTHING in needs.names:
        return needs
    return Dependencies((*needs.names, ANYTHING), needs.columns)


def tables_of(item: Any) -> tuple[str, ...]:
    """Name the tables behind a mapped class, a table or a name.

    A mapped class stands for every table of its inheritance tree: a row of a subclass is
    a row of the base as well.

    :raises TypeError: it is none of these.
    """
    if isinstance(item, str) and item:
        return (table_token(item.rpartition(".")[2]),)
    if isinstance(item, sa.sql.expression.TableClause):
        return (table_token(item.name),)
    mapper = sa.inspect(item, raiseerr=False) if isinstance(item, type) else item
    if isinstance(mapper, Mapper):
        tree = mapper.base_mapper.self_and_descendants
        tables = (table for part in tree for table in part.tables)
        return tuple(
            dict.fromkeys(
                table_token(table.name)
                for table in tables
                if isinstance(table, sa.sql.expression.TableClause)
            )
        )
    raise TypeError(f"{item!r} is no dependency; allowed is {ALLOWED}")


def table_token(table: str) -> str:
    """Name the token that every write to the table changes."""
    return _quoted(table)


def rows_token(table: str) -> str:
    """Name the token that a write to unknown rows of the table changes."""
    return f"{table}.*"


def value_token(table: str, column: str, value: str) -> str:
    """Name the token of one value, as ``value_text`` wrote it."""
    return f"{table}.{column}={value}"


def column_name(column: sa.Column[Any]) -> str:
    """Write a column's name so that it can stand in a token's name."""
    return _quoted(column.name)


def value_text(value: Any, kind: TypeEngine[Any]) -> str | None:
    """Write a column's value so that whatever a database may hold equal becomes equal text.

    A collation may ignore case, accents and trailing blanks, and a driver takes ``"7"`` for
    7: letters are folded and all but letters and digits dropped. Two values that fall
    together only drop more than needed. None: the value may be stored as another one
    (1.005 in a column of two digits), so it has no text.

    :param kind: the column's type.
    """
    if isinstance(value, enum.Enum):
        value = _enum_value(value, kind)
    elif value is None:
        return "null"
    if isinstance(value, bool | float | Decimal) and value == value // 1:
        value = int(value)
    if isinstance(value, bytes):
        value = value.hex()
    elif not isinstance(value, str | int | uuid.UUID | date) or isinstance(value, datetime):
        return None
    folded = "".join(
        letter
        for letter in unicodedata.normalize("NFKD", str(value)).casefold()
        if letter.isalnum()
    )
    if folded.isascii() and folded.isdigit() and len(folded) <= _LONGEST_INTEGER:
        return folded.lstrip("0") or "0"
    return blake2b(folded.encode(), digest_size=8).hexdigest()


@lru_cache(maxsize=4096)
def own_tables(names: tuple[str, ...]) -> frozenset[str]:
    """Name the tables behind token names."""
    return frozenset(name.partition(".")[0] for name in names)


def _enum_value(member: enum.Enum, kind: TypeEngine[Any]) -> Any:
    """Return what the database holds for the member: the name, unless the type says else."""
    if not isinstance(kind, sa.Enum):
        return member.value
    names = [name for name, item in type(member).__members__.items() if item.name == name]
    return dict(zip(names, kind.enums, strict=False)).get(member.name, member.value)


def _compared(expression: BinaryExpression[Any]) -> tuple[str, str, str]:
    """Take ``Document.user_id == 7`` apart: table, column, the value's text."""
    column, operand = expression.left, expression.right
    if (
        expression.operator not in (operators.eq, operators.is_)
        or not isinstance(column, sa.Column)
        or not isinstance(column.table, sa.sql.expression.TableClause)
    ):
        raise TypeError(f"{expression} is no dependency; allowed is {ALLOWED}")
    text = _operand_text(operand, column.type)
    if text is None:
        raise TypeError(
            f"{expression}: the value is no text, whole number, UUID, date, enum member or None; "
            f"depend on the table instead"
        )
    return table_token(column.table.name), column_name(column), text


def _operand_text(operand: ColumnElement[Any], kind: TypeEngine[Any]) -> str | None:
    if isinstance(operand, sa.Null):
        return value_text(None, kind)
    if isinstance(operand, True_ | False_):
        return value_text(isinstance(operand, True_), kind)
    if isinstance(operand, BindParameter):
        return value_text(operand.effective_value, kind)
    return None


def _quoted(name: str) -> str:
    return quote(name.lower(), safe="").replace(".", "%2E")
