"""The marshmallow schemas: query parameters, and the envelope round the items."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from marshmallow import Schema, ValidationError, fields, post_dump, validate, validates_schema

from flask_perfkit.errors import ParameterError
from flask_perfkit.pagination.app import current_settings
from flask_perfkit.pagination.order.terms import sort_errors

if TYPE_CHECKING:
    from werkzeug.datastructures import MultiDict

AnySchema = Schema | type[Schema]

_SORT_HELP = 'Names by commas, "-" in front for descending.'


def _nothing() -> None:
    """Stand in for a parameter that is left out; a plain None would allow null in OpenAPI."""


class _PageSizeRange(validate.Validator):
    """1 to the current application's ``PERFKIT_MAX_PAGE_SIZE``."""

    min = 1

    @property
    def max(self) -> int:
        return current_settings().max_page_size

    def __call__(self, value: int) -> int:
        return validate.Range(min=self.min, max=self.max)(value)


class _ListParamsSchema(Schema):
    page_size = fields.Integer(
        load_default=lambda: current_settings().page_size,
        validate=_PageSizeRange(),
        metadata={"description": "Items a page."},
    )
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
        if "page" in original and "cursor" in original:
            raise ValidationError("Not together with cursor.", "page")


def params_schema(
    sortable: Collection[str], filters: Mapping[str, fields.Field[Any]]
) -> type[AnyPageParamsSchema]:
    """Return the schema class of a list's query parameters: page, order and filters.

    :raises ValueError: a filter has the name of a parameter of the page.
    """
    taken = AnyPageParamsSchema._declared_fields.keys() & filters.keys()
    if taken:
        raise ValueError(f"filters: the name {min(taken)!r} is a parameter of the page itself")
    attributes = {"sort": _sort_field(sortable), **filters}
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
    values = {
        name: arguments.getlist(name) if isinstance(field, fields.List) else arguments[name]
        for name, field in schema.load_fields.items()
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


@lru_cache
def page_schema(item_schema: AnySchema) -> type[Schema]:
    """Return the schema class of a :class:`Page` whose items that schema dumps."""
    return _envelope(
        item_schema,
        "Page",
        total=fields.Integer(required=True, allow_none=True),
        page=fields.Integer(required=True),
        page_size=fields.Integer(required=True),
        total_pages=fields.Integer(required=True, allow_none=True),
        has_next=fields.Boolean(required=True),
        has_previous=fields.Boolean(required=True),
    )


class _CursorEnvelope(Schema):
    @post_dump
    def leave_out_what_nobody_asked_for(self, page: dict[str, Any], **_: Any) -> dict[str, Any]:
        if page["total"] is None:
            del page["total"]
        return page


@lru_cache
def cursor_page_schema(item_schema: AnySchema) -> type[Schema]:
    """Return the schema class of a :class:`CursorPage` whose items that schema dumps."""
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
    )


def dumped_names(item_schema: AnySchema) -> frozenset[str]:
    """Return the names of the attributes whose values a schema shows as they are."""
    schema = item_schema() if isinstance(item_schema, type) else item_schema
    return frozenset(
        field.attribute or name
        for name, field in schema.dump_fields.items()
        if not isinstance(field, fields.Method | fields.Function | fields.Constant)
    )


def _envelope(
    item_schema: AnySchema, suffix: str, base: type[Schema] = Schema, **envelope: fields.Field[Any]
) -> type[Schema]:
    item_class = item_schema if isinstance(item_schema, type) else type(item_schema)
    items = fields.Nested(item_schema, many=True, required=True)
    name = f"{item_class.__name__.removesuffix('Schema')}{suffix}Schema"
    return type(name, (base,), {"items": items, **envelope})
