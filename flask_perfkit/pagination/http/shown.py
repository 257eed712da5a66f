"""What a response shows of an item: read off its marshmallow schema, where that is certain."""

from __future__ import annotations

import decimal
from collections.abc import Collection
from datetime import date, datetime, time
from functools import lru_cache
from typing import Any
from uuid import UUID

from marshmallow import Schema, fields

from flask_perfkit.pagination.statement.visibility import Shown

Shows = Schema | type[Schema] | Collection[str]

_KINDS: dict[type, frozenset[type]] = {
    fields.String: frozenset({str}),
    fields.Email: frozenset({str}),
    fields.URL: frozenset({str}),
    fields.Integer: frozenset({int}),
    fields.Boolean: frozenset({bool}),
    fields.Float: frozenset({float}),
    fields.Decimal: frozenset({decimal.Decimal}),
    fields.UUID: frozenset({UUID}),
    fields.Date: frozenset({date}),
    fields.Time: frozenset({time}),
    fields.DateTime: frozenset({datetime}),
    fields.NaiveDateTime: frozenset({datetime}),
    fields.AwareDateTime: frozenset({datetime}),
    fields.Raw: frozenset({object}),
}
_EXACT_FORMATS = frozenset({None, "iso", "iso8601"})
_OWN = ("dump", "get_attribute", "_serialize")


def read_shows(shows: Shows | None) -> Shown:
    """Return what a response shows that is made so; nothing where nobody says it.

    :param shows: the schema of an item, or the names of attributes that are shown as they are.
    :raises TypeError: it is something else.
    """
    if shows is None:
        return Shown({})
    if isinstance(shows, type) and issubclass(shows, Schema):
        return _of_class(shows)
    if isinstance(shows, Schema):
        return _of_schema(shows)
    if isinstance(shows, Collection) and not isinstance(shows, str):
        return Shown(dict.fromkeys(shows, frozenset({object})))
    raise TypeError(
        f"shows={shows!r:.80}: must be a marshmallow schema, or the names of the attributes that "
        "the view shows as they are"
    )


@lru_cache
def _of_class(schema: type[Schema]) -> Shown:
    return _of_schema(schema())


def _of_schema(schema: Schema) -> Shown:
    if _has_hooks(schema) or any(
        getattr(type(schema), name) is not getattr(Schema, name) for name in _OWN
    ):
        return Shown({})
    kinds: dict[str, frozenset[type]] = {}
    for name, field in schema.dump_fields.items():
        attribute = field.attribute or name
        kinds[attribute] = kinds.get(attribute, frozenset()) | _kinds(field, schema)
    return Shown(kinds)


def _has_hooks(schema: Schema) -> bool:
    return any(schema._hooks[when] for when in ("pre_dump", "post_dump") if when in schema._hooks)


def _kinds(field: fields.Field[Any], schema: Schema) -> frozenset[type]:
    """Return the types whose values a field shows as they are: of a subclass nobody knows."""
    is_rounded = type(field) is fields.Decimal and (field.places, field.rounding) != (None, None)
    if is_rounded or _format(field, schema) not in _EXACT_FORMATS:
        return frozenset()
    return _KINDS.get(type(field), frozenset())


def _format(field: fields.Field[Any], schema: Schema) -> str | None:
    if not isinstance(field, fields.DateTime | fields.Date | fields.Time):
        return None
    inherited = getattr(schema.opts, field.SCHEMA_OPTS_VAR_NAME, None)
    found: str | None = field.format or inherited
    return found
