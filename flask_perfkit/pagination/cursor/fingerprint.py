"""What a cursor is bound to: the SQL of its query, the values in it, and the endpoint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from sqlalchemy.exc import CompileError

if TYPE_CHECKING:
    from sqlalchemy import BindParameter, Dialect, Select
    from sqlalchemy.types import TypeEngine

FINGERPRINT_SIZE = 12

_SAME_EVERYWHERE = frozenset(
    {type(None), bool, int, float, str, bytes, Decimal} | {date, datetime, time, timedelta, UUID}
)


class Bound(NamedTuple):
    """A parameter of a statement and the value that it has in this request."""

    parameter: BindParameter[Any]
    value: Any


def bound_values(
    parameters: Iterable[BindParameter[Any]], given: Mapping[str, Any] | None
) -> list[Bound]:
    """Return the values that a statement runs with.

    :param given: by their names, what ``.params()`` gave. SQLAlchemy 2.1 keeps that beside the
        parameters and outside of the statement's cache key.
    :raises ValueError: a parameter has no value.
    """
    return [Bound(item, _value(item, given or {})) for item in parameters]


def _value(parameter: BindParameter[Any], given: Mapping[str, Any]) -> Any:
    if parameter.key in given:
        return given[parameter.key]
    if parameter.required:
        raise ValueError(
            f"bindparam({parameter.key!r}) has no value: "
            f"give the statement one with .params({parameter.key}=...)"
        )
    return parameter.effective_value


def fingerprint(sql: str, values: Iterable[Bound], dialect: Dialect, *places: str) -> bytes:
    """Return ``FINGERPRINT_SIZE`` bytes, the same in every process for the same query.

    :param places: what the query belongs to beside, such as its endpoint.
    :raises TypeError: a value has no text that other processes would agree on.
    """
    texts = [_text(item.value, item.parameter, dialect) for item in values]
    text = "\0".join((*places, sql, *texts))
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=FINGERPRINT_SIZE).digest()


def fingerprint_of(statement: Select[Any], dialect: Dialect, *places: str) -> bytes:
    """Return the fingerprint of a statement on a database, whichever endpoint asks for it."""
    sql, values = compiled_with_values(statement, dialect)
    return fingerprint(sql, values, dialect, *places)


def compiled_with_values(statement: Select[Any], dialect: Dialect) -> tuple[str, list[Bound]]:
    """Return the SQL of a statement and the values that it runs with."""
    compiled: Any = statement.compile(dialect=dialect)
    given = compiled.construct_params(escape_names=False, _no_postcompile=True)
    return str(compiled), [Bound(item, given[name]) for item, name in compiled.bind_names.items()]


def options_text(options: Mapping[str, Any]) -> str:
    """Return the text of execution options: hooks of the application may go by them.

    :raises TypeError: an option has no text that other processes would agree on.
    """
    return repr([(name, _described(options[name], str(name))) for name in sorted(options)])


def type_text(kind: TypeEngine[Any], dialect: Dialect) -> str:
    """Return what a type is called in the database; a value of another one is no place here."""
    try:
        return kind.compile(dialect=dialect)
    except CompileError:  # of an expression whose type nobody told
        return type(kind).__name__


def _described(value: Any, name: str) -> str:
    if isinstance(value, Mapping):
        return repr(sorted((str(key), _described(item, name)) for key, item in value.items()))
    if isinstance(value, list | tuple | set | frozenset):
        texts = [_described(item, name) for item in value]
        return repr(sorted(texts) if isinstance(value, set | frozenset) else texts)
    return _shown(value, f"the execution option {name!r}")


def _text(value: Any, parameter: BindParameter[Any], dialect: Dialect) -> str:
    if type(value) in _SAME_EVERYWHERE:
        return repr(value)
    if isinstance(value, list | tuple):
        texts = [_text(item, parameter, dialect) for item in value]
        # The values of an IN came from a set, maybe, whose order differs between processes.
        return f"[{','.join(sorted(texts) if parameter.expanding else texts)}]"
    processor = parameter.type.dialect_impl(dialect).bind_processor(dialect)
    return _shown(processor(value) if processor else value, "a query", type(value).__name__)


def _shown(value: Any, where: str, name: str | None = None) -> str:
    if "__repr__" not in {key for kind in type(value).__mro__[:-1] for key in vars(kind)}:
        raise TypeError(
            f"{where} with a {name or type(value).__name__} in it cannot be recognized again: "
            "give the class a __repr__ that shows its value"
        )
    return repr(value)
