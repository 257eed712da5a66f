"""The envelope and parameter schemas on their own."""

from __future__ import annotations

import pytest
from marshmallow import Schema, fields

from flask_perfkit.pagination import Page, PaginationParamsSchema, page_schema


class AuthorSchema(Schema):
    id = fields.Integer()
    name = fields.String()


PAGE = Page(items=[{"id": 1, "name": "a"}], total=3, page=2, page_size=1, has_next=True)


def test_an_envelope_is_named_after_its_items_and_made_once() -> None:
    assert page_schema(AuthorSchema).__name__ == "AuthorPageSchema"
    assert page_schema(AuthorSchema) is page_schema(AuthorSchema)


@pytest.mark.parametrize(
    ("schema", "item"),
    [(AuthorSchema, {"id": 1, "name": "a"}), (AuthorSchema(only=["id"]), {"id": 1})],
)
def test_an_envelope_dumps_a_page(schema: type[Schema] | Schema, item: dict[str, object]) -> None:
    assert page_schema(schema)().dump(PAGE) == {
        "items": [item],
        "total": 3,
        "page": 2,
        "page_size": 1,
        "total_pages": 3,
        "has_next": True,
        "has_previous": True,
    }


def test_parameters_have_defaults_outside_an_application_too() -> None:
    loaded = PaginationParamsSchema().load({})
    assert loaded == {"page": 1, "page_size": 20, "sort": None}
    assert PaginationParamsSchema().validate({"page_size": 101, "page": "x"}).keys() == {
        "page",
        "page_size",
    }
