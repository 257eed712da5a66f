"""The marshmallow schemas: query parameters, and the envelope round the items."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from copy import deepcopy
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from marshmallow import Schema, ValidationError, fields, post_dump, validate, validates_schema

from flask_perfkit.errors import ParameterError
from flask_perfkit.pagination.app import current_settings
from flask_perfkit.pagination.order.sortable import sort_errors

if TYPE_CHECKING:
    from werkzeug.datastructures import MultiDict

AnySchema = Schema | type[Schema]

_AROUND_HELP = "The key of an item: the page round it."
_SORT_HELP = 'Names by commas, "-" in front for descending.'


def _nothing() -> None:
    """Stand in for a parameter that is left out; a plain None would allow null in OpenAPI."""


class _PageSizeRange(validate.Validator):
    """1 to the most of this list, else to the current application's ``PERFKIT_MAX_PAGE_SIZE``."""

    min = 1

    def __init__(self, most: int | None) -> None:
        self._most = most

    @property
    def max(self) -> int:
        return self._most or current_settings().max_page_size

    def __call__(self, value: int) -> int:
        return validate.Range(min=self.min, max=self.max)(value)


def _page_size_field(size: int | None = None, most: int | None = None) -> fields.Integer:
    def default() -> int:
        allowed = most or current_settings().max_page_size
        return size or min(current_settings().page_size, allowed)

    return fields.Integer(
        load_default=default,
        validate=_PageSizeRange(most),
        metadata={"description": "Items a page."},
    )


class _ListParamsSchema(Schema):
    page_size = _page_size_field()
    sort = fields.String(load_default=_nothing, metadata={"description": _SORT_HELP})


class PaginationParamsSchema(_ListParamsSchema):
    """The query parameters of a page by its number."""

    page = fields.Integer(
        load_default=1,
        validate=validate.Range(min=1),
        metadata={"description": "Number of the page, from 1 on."},
    )


class CursorParamsSchema(_ListParamsSchema):
    """The query parameters of a page by a cursor."""

    cursor = fields.String(
        load_default=_nothing,
        metadata={"description": "next_cursor or previous_cursor of another page; empty: first."},
    )


class AnyPageParamsSchema(PaginationParamsSchema, CursorParamsSchema):
    """The query parameters of a list that gives its pages either way."""

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def one_way(self, _: Any, original: Mapping[str, Any], **__: Any) -> None:
        given = [
            called
            for name in ("around", "cursor", "page")
            if name in self.fields and (called := self.fields[name].data_key or name) in original
        ]
        if len(given) > 1:
            raise ValidationError(f"Not together with {given[0]}.", given[1])


def params_schema(
    sortable: Collection[str],
    filters: Mapping[str, fields.Field[Any]],
    *,
    names: Mapping[str, str] = MappingProxyType({}),
    page_size: int | None = None,
    max_page_size: int | None = None,
    around: bool = False,
) -> type[AnyPageParamsSchema]:
    """Return the schema class of a list's query parameters: page, order and filters.

    :param names: other names for page, page_size, sort and cursor.
    :param page_size: items a page unless asked for; ``PERFKIT_PAGE_SIZE`` where None.
    :param max_page_size: the most that may be asked for; ``PERFKIT_MAX_PAGE_SIZE`` where None.
    :param around: whether ``around`` is one of them.
    :raises ValueError: a filter has the name of a parameter of the page.
    """
    own = dict(AnyPageParamsSchema._declared_fields)
    if around:
        own["around"] = fields.String(load_default=_nothing, metadata={"description": _AROUND_HELP})
    called = {name: names.get(name, name) for name in own}
    taken = called.values() & filters.keys() | own.keys() & filters.keys()
    if taken:
        raise ValueError(f"filters: the name {min(taken)!r} is a parameter of the page itself")
    attributes: dict[str, Any] = {
        **{name: deepcopy(field) for name, field in own.items()},
        "sort": _sort_field(sortable),
        **filters,
        "page_size": _page_size_field(page_size, max_page_size),
    }
    for name, called_name in called.items():
        attributes[name].data_key = None if called_name == name else called_name
    return type("ListParamsSchema", (AnyPageParamsSchema,), attributes)


def _sort_field(names: Collection[str]) -> fields.String:
    def check(sort: str) -> None:
        messages = sort_errors(sort, names) if sort else []
        if messages:
            raise ValidationError(messages)

    return fields.String(
        load_default=_nothing,
        validate=check,
        metadata={"description": f"{_SORT_HELP} Names: {', '.join(names) or 'none'}."},
    )


def load_parameters(schema: Schema, arguments: MultiDict[str, str]) -> dict[str, Any]:
    """Read query parameters through a schema.

    :raises ParameterError: names every bad parameter at once.
    """
    called = {field.data_key or name: field for name, field in schema.load_fields.items()}
    values = {
        name: arguments.getlist(name) if isinstance(field, fields.List) else arguments[name]
        for name, field in called.items()
        if name in arguments
    }
    try:
        return cast(dict[str, Any], schema.load(values))
    except ValidationError as error:
        raise ParameterError(
            {name: list(_flat(messages)) for name, messages in error.messages_dict.items()}
        ) from None


def _flat(messages: Any) -> Iterator[str]:
    """Yield the messages of a parameter; of one given several times they come by position."""
    if isinstance(messages, dict):
        for inner in messages.values():
            yield from _flat(inner)
    else:
        yield from messages


def _capped(capped: bool) -> dict[str, fields.Field[Any]]:
    return {"total_is_capped": fields.Boolean(required=True)} if capped else {}


def page_schema(item_schema: AnySchema, *, capped: bool = False) -> type[Schema]:
    """Return the schema class of a :class:`Page` whose items that schema dumps.

    :param capped: whether it says ``total_is_capped``, for totals that stop at a number.
    """
    return _page_schema(item_schema, capped)


@lru_cache
def _page_schema(item_schema: AnySchema, capped: bool) -> type[Schema]:
    return _envelope(
        item_schema,
        "Page",
        Schema,
        total=fields.Integer(required=True, allow_none=True),
        page=fields.Integer(required=True),
        page_size=fields.Integer(required=True),
        total_pages=fields.Integer(required=True, allow_none=True),
        has_next=fields.Boolean(required=True),
        has_previous=fields.Boolean(required=True),
        **_capped(capped),
    )


class _CursorEnvelope(Schema):
    @post_dump
    def leave_out_what_nobody_asked_for(self, page: dict[str, Any], **_: Any) -> dict[str, Any]:
        if page["total"] is None:
            del page["total"]
        return page


def cursor_page_schema(item_schema: AnySchema, *, capped: bool = False) -> type[Schema]:
    """Return the schema class of a :class:`CursorPage` whose items that schema dumps.

    :param capped: as for :func:`page_schema`.
    """
    return _cursor_page_schema(item_schema, capped)


@lru_cache
def _cursor_page_schema(item_schema: AnySchema, capped: bool) -> type[Schema]:
    return _envelope(
        item_schema,
        "CursorPage",
        _CursorEnvelope,
        page_size=fields.Integer(required=True),
        next_cursor=fields.String(required=True, allow_none=True),
        previous_cursor=fields.String(required=True, allow_none=True),
        has_next=fields.Boolean(required=True),
        has_previous=fields.Boolean(required=True),
        total=fields.Integer(),
        **_capped(capped),
    )


def _envelope(
    item_schema: AnySchema,
    suffix: str,
    base: type[Schema],
    **envelope: fields.Field[Any],
) -> type[Schema]:
    item_class = item_schema if isinstance(item_schema, type) else type(item_schema)
    if not issubclass(item_class, Schema):
        raise TypeError(f"{item_schema!r:.80} is no marshmallow schema of an item")
    items = fields.Nested(item_schema, many=True, required=True)
    name = f"{item_class.__name__.removesuffix('Schema')}{suffix}Schema"
    return type(name, (base,), {"items": items, **envelope})
