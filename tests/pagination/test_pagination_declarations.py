"""Mistakes in a declaration: an error at import that names what was given and what is allowed."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask
from marshmallow import Schema, fields
from paging_models import Document, User
from sqlalchemy import insert, select

from flask_perfkit.pagination import paginated

pytestmark = pytest.mark.usefixtures("app")


class DocumentSchema(Schema):
    id = fields.Integer()


@pytest.fixture
def database_url() -> str:
    return "sqlite://"


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "sortable as a list": ({"sortable": [Document.id]}, "is a list: must be a mapping of names"),
    "sortable as a set": ({"sortable": {"id"}}, "is a set: must be a mapping of names"),
    "a relationship": (
        {"sortable": {"owner": Document.user}},
        r"sortable\['owner'\] ends with the relationship Document.user: name a column behind it",
    ),
    "a name for a column": (
        {"sortable": {"id": "id"}},
        r"sortable\['id'\] is 'id': must be a column",
    ),
    "a class": ({"sortable": {"it": Document}}, r"sortable\['it'\] is .*must be a column"),
    "a table": ({"filters": {"it": Document.__table__}}, r"filters\['it'\] is .*must be a column"),
    "no relationship": (
        {"sortable": {"it": (Document.user_id, User.name)}},
        "Document.user_id before its column, which is no relationship",
    ),
    "a column for a name": ({"sortable": {Document.id: "id"}}, "must be a text"),
    "a name with a comma": ({"sortable": {"a,b": Document.id}}, "'a,b', which .* cannot ask for"),
    "a name with a sign": ({"sortable": {"-id": Document.id}}, "'-id', which .* cannot ask for"),
    "a default that is a column": ({"default_sort": Document.id}, "must be a text such as"),
    "filters as a list": ({"filters": ["id"]}, "is a list: must be a mapping of query parameters"),
    "an operator alone": ({"filters": {"it": ("eq",)}}, "must be a column or begin with one"),
    "text in a number": (
        {"filters": {"it": (Document.size, "contains")}},
        r"operator 'contains', which Integer\(\) does not have; allowed are eq, ne,",
    ),
    "text in a moment": (
        {"filters": {"it": (Document.uploaded_at, "startswith")}},
        "operator 'startswith', which DateTime",
    ),
    "a total of nothing": ({"total": 0}, "total=0 is unknown; allowed are 'exact'.*whole number"),
    "a total of all": ({"total": True}, "total=True is unknown"),
    "a page of text": ({"page_size": "20"}, "page_size='20': must be a whole number from 1 on"),
    "a page of nothing": ({"max_page_size": 0}, "max_page_size=0: must be a whole number"),
    "a page above the most": ({"page_size": 9, "max_page_size": 5}, "more than max_page_size=5"),
    "parameters as a list": ({"parameters": ["page"]}, "must be a mapping such as"),
    "an unknown parameter": (
        {"parameters": {"size": "n"}},
        "has the key 'size'; allowed are .*page_size",
    ),
    "two of a name": ({"parameters": {"sort": "page"}}, "two of them would be called 'page'"),
    "an envelope of text": ({"envelope": "data"}, "must be a function of a page and its items"),
    "around a number": ({"around": 1}, "around=1: must be True or False"),
    "a session of text": ({"session": "db"}, "must be a Session or a scoped_session"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_option_is_refused_at_import(name: str) -> None:
    options, message = WRONG[name]
    with pytest.raises((TypeError, ValueError), match=message):
        paginated(DocumentSchema, **options)


def test_a_schema_that_is_none_is_refused() -> None:
    def list_documents() -> Any:
        return select(Document)

    with pytest.raises(TypeError, match=r"'list_documents' without the schema.*DocumentSchema\)"):
        paginated(list_documents)  # type: ignore[arg-type]
    for schema in (Document, {"id": int}, "DocumentSchema", None):
        with pytest.raises(TypeError, match="its first argument is the marshmallow schema"):
            paginated(schema)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="must be a view function"):
        paginated(DocumentSchema)("list_documents")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "rows",
    [
        list,
        lambda: Document,
        lambda: Document.__table__,
        lambda: insert(Document),
        lambda: (select(Document), 200),
    ],
    ids=["list", "class", "table", "insert", "tuple"],
)
def test_rows_in_place_of_a_query_are_refused(app: Flask, rows: Any) -> None:
    def list_documents() -> Any:
        return rows()

    with app.test_request_context("/"), pytest.raises(TypeError, match="return the query itself"):
        paginated(DocumentSchema)(list_documents)()
