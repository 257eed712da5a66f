"""What a cursor is bound to: the SQL of its query, the values in it, and the endpoint."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from hashlib import blake2b
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from sqlalchemy import BindParameter, Dialect, Select

FINGERPRINT_SIZE = 12

_SAME_EVERYWHERE = frozenset(
    {type(None), bool, int, float, str, bytes, Decimal} | {date, datetime, time, timedelta, UUID}
)


def fingerprint(
    sql: str, parameters: Iterable[BindParameter[Any]], dialect: Dialect, place: str | None
) -> bytes:
    """Return ``FINGERPRINT_SIZE`` bytes, the same in every process for the same query.

    :param place: what the query belongs to beside, such as its endpoint.
    :raises TypeError: a value has no text that other processes would agree on.
    """
    values = [_text(item.effective_value, item, dialect) for item in parameters]
    text = "\0".join((place or "", sql, *values))
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=FINGERPRINT_SIZE).digest()


def fingerprint_of(statement: Select[Any], dialect: Dialect, database: str) -> bytes:
    """Return the fingerprint of a statement on a database, whichever endpoint asks for it."""
    compiled = statement.compile(dialect=dialect)
    return fingerprint(str(compiled), compiled.bind_names, dialect, database)


def _text(value: Any, parameter: BindParameter[Any], dialect: Dialect) -> str:
    if type(value) in _SAME_EVERYWHERE:
        return repr(value)
    if isinstance(value, list | tuple):
        texts = [_text(item, parameter, dialect) for item in value]
        # The values of an IN came from a set, maybe, whose order differs between processes.
        return f"[{','.join(sorted(texts) if parameter.expanding else texts)}]"
    processor = parameter.type.dialect_impl(dialect).bind_processor(dialect)
    stored = processor(value) if processor else value
    if "__repr__" not in {name for kind in type(stored).__mro__[:-1] for name in vars(kind)}:
        raise TypeError(
            f"a query with a {type(value).__name__} in it cannot be recognized again: "
            "give the class a __repr__ that shows its value"
        )
    return repr(stored)
