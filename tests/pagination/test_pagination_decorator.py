"""@paginated over HTTP: envelope, errors, Link header, settings."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask, redirect
from flask.testing import FlaskClient
from flask.views import MethodView
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from marshmallow import Schema, fields
from paging_models import Document, User, add_documents, create_app, db
from sqlalchemy import select, union
from werkzeug.datastructures import Headers

from flask_perfkit.config import Settings
from flask_perfkit.pagination import PaginationParams, paginate, paginated


class DocumentSchema(Schema):
    id = fields.Integer()
    title = fields.String()


SORTABLE = {"id": Document.id, "title": Document.title}


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    @app.get("/documents")
    @paginated(DocumentSchema, sortable=SORTABLE, default_sort="id")
    def documents() -> Any:
        return select(Document)

    return app.test_client()


def links(headers: Headers) -> dict[str, str]:
    """Read a Link header: where each relation points to."""
    found = {}
    for link in headers.get("Link", "").split(", "):
        url, _, rel = link.partition("; rel=")
        if url:
            found[rel.strip('"')] = url.strip("<>")
    return found


def test_the_envelope_is_exactly_this(client: FlaskClient) -> None:
    add_documents(5)
    response = client.get("/documents?page=2&page_size=2&sort=-id")
    assert response.status_code == 200
    assert response.json == {
        "items": [{"id": 3, "title": "t3"}, {"id": 2, "title": "t2"}],
        "total": 5,
        "page": 2,
        "page_size": 2,
        "total_pages": 3,
        "has_next": True,
        "has_previous": True,
    }


def test_without_parameters_the_settings_decide(client: FlaskClient, app: Flask) -> None:
    add_documents(30)
    body: Any = client.get("/documents").json
    assert (body["page"], body["page_size"], len(body["items"])) == (1, 20, 20)
    app.extensions["perfkit"] = SimpleNamespace(settings=Settings(page_size=3, max_page_size=7))
    body = client.get("/documents").json
    assert (body["page_size"], len(body["items"])) == (3, 3)
    assert client.get("/documents?page_size=7").status_code == 200
    body = client.get("/documents?page_size=8").json
    assert "7" in body["errors"]["page_size"][0]


def test_two_applications_keep_their_own_limits() -> None:
    sizes = {}
    for size in (2, 3):
        app = create_app("sqlite://")
        app.extensions["perfkit"] = SimpleNamespace(settings=Settings(page_size=size))
        sizes[size] = app
    for size in (2, 3, 2):
        with sizes[size].test_request_context("/"):
            assert PaginationParams.from_request() == PaginationParams(page_size=size)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("page_size=0", "page_size"),
        ("page_size=-1", "page_size"),
        ("page_size=101", "page_size"),
        ("page_size=x", "page_size"),
        ("page_size=", "page_size"),
        ("page_size=1.5", "page_size"),
        (f"page_size={10**40}", "page_size"),
        ("page=0", "page"),
        ("page=-3", "page"),
        ("page=x", "page"),
        ("page=" + "9" * 5000, "page"),
        ("page=%00", "page"),
        ("sort=nope", "sort"),
        ("sort=-", "sort"),
        ("sort=id%00", "sort"),
        ("sort=id;DROP TABLE document", "sort"),
        ("sort=" + "x" * 10**6, "sort"),
    ],
)
def test_a_bad_parameter_is_named_in_a_problem(client: FlaskClient, query: str, field: str) -> None:
    response = client.get(f"/documents?{query}")
    body: Any = response.json
    assert response.status_code == 400
    assert response.content_type == "application/problem+json"
    assert (body["status"], list(body["errors"])) == (400, [field])
    assert body["errors"][field][0]
    assert len(response.data) < 1_000
    assert b"SELECT" not in response.data


def test_all_bad_parameters_come_in_one_answer(client: FlaskClient) -> None:
    body: Any = client.get("/documents?page=0&page_size=0&sort=nope").json
    assert sorted(body["errors"]) == ["page", "page_size", "sort"]


def test_a_page_beyond_the_end_is_empty_with_true_totals(client: FlaskClient) -> None:
    add_documents(5)
    body: Any = client.get(f"/documents?page={10**40}&page_size=2").json
    assert (body["items"], body["total"], body["total_pages"]) == ([], 5, 3)
    assert (body["has_next"], body["has_previous"]) == (False, True)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    parameters=st.dictionaries(
        st.sampled_from(["page", "page_size", "sort", "other"]),
        st.text() | st.integers().map(str) | st.from_regex(r"[-+]?(id|title)(,-?id)*"),
    )
)
def test_no_parameter_makes_a_500(client: FlaskClient, parameters: dict[str, str]) -> None:
    assert client.get("/documents", query_string=parameters).status_code in (200, 400)


def test_links_lead_to_the_neighbours_and_keep_the_other_parameters(client: FlaskClient) -> None:
    add_documents(5)
    query = "q=a%26b&sort=-id&tag=x&tag=y%C3%A9&page_size=2"
    response = client.get(f"/documents?{query}&page=2")
    urls = links(response.headers)
    assert list(urls) == ["first", "prev", "next", "last"]
    assert urls["next"] == "/documents?q=a%26b&sort=-id&tag=x&tag=y%C3%A9&page_size=2&page=3"
    pages: Any = {rel: client.get(url).json for rel, url in urls.items()}
    assert {rel: page["page"] for rel, page in pages.items()} == {
        "first": 1,
        "prev": 1,
        "next": 3,
        "last": 3,
    }
    assert [item["id"] for item in pages["next"]["items"]] == [1]


def test_links_are_left_out_where_they_lead_nowhere(client: FlaskClient) -> None:
    add_documents(5)
    assert list(links(client.get("/documents?page_size=3").headers)) == ["first", "next", "last"]
    assert list(links(client.get("/documents?page_size=3&page=2").headers)) == [
        "first",
        "prev",
        "last",
    ]
    assert "Link" not in client.get("/documents").headers
    assert "Link" not in client.get("/documents?page_size=1&q=" + "x" * 10_000).headers


def test_links_stay_on_this_host_and_under_its_prefix(client: FlaskClient) -> None:
    add_documents(5)
    response = client.get(
        "/documents?page_size=2",
        headers={"Host": "evil.example"},
        environ_overrides={"SCRIPT_NAME": "/api v1"},
    )
    assert links(response.headers)["next"] == "/api%20v1/documents?page_size=2&page=2"


def test_an_async_view_a_class_and_an_early_answer(app: Flask) -> None:
    add_documents(3)

    @app.get("/async/<int:least>")
    @paginated(DocumentSchema)
    async def asynchronous(least: int) -> Any:
        return select(Document).where(Document.id >= least).order_by(Document.id.desc())

    class Documents(MethodView):
        @paginated(DocumentSchema, total=None)
        def get(self) -> Any:
            return db.session.query(Document)

    @app.get("/elsewhere")
    @paginated(DocumentSchema)
    def elsewhere() -> Any:
        return redirect("/")

    @app.get("/forbidden")
    @paginated(DocumentSchema)
    def forbidden() -> Any:
        return {"error": "no"}, 403

    app.add_url_rule("/class", view_func=Documents.as_view("class"))
    client = app.test_client()
    asynchronous_page: Any = client.get("/async/2").json
    assert [item["id"] for item in asynchronous_page["items"]] == [3, 2]
    class_page: Any = client.get("/class?page_size=2").json
    assert (class_page["total"], class_page["total_pages"]) == (None, None)
    assert class_page["has_next"] is True
    assert client.get("/elsewhere").status_code == 302
    assert client.get("/forbidden").status_code == 403
    assert asynchronous.__name__ == "asynchronous"


def test_a_bad_request_never_reaches_the_view(app: Flask) -> None:
    @app.get("/documents")
    @paginated(DocumentSchema)
    def documents() -> Any:
        raise AssertionError("the view ran")

    assert app.test_client().get("/documents?page=0").status_code == 400


def test_without_the_decorator_errors_are_answered_the_same_way(app: Flask) -> None:
    add_documents(3)

    @app.get("/documents")
    def documents() -> Any:
        page = paginate(select(Document), PaginationParams.from_request(), sortable=SORTABLE)
        return [document.id for document in page.items]

    client = app.test_client()
    assert client.get("/documents?sort=-id&page_size=2").json == [3, 2]
    for query in ("page=0", "sort=nope", "page_size=1000"):
        response = client.get(f"/documents?{query}")
        assert response.status_code == 400
        assert response.content_type == "application/problem+json"


def test_a_filter_narrows_page_and_total(app: Flask) -> None:
    add_documents(9, users=3)

    @app.get("/documents")
    @paginated(
        DocumentSchema,
        filters={"user_id": Document.user_id, "since_id": (Document.id, "ge")},
    )
    def documents() -> Any:
        return select(Document)

    client = app.test_client()
    body: Any = client.get("/documents?user_id=2&since_id=3").json
    assert ([item["id"] for item in body["items"]], body["total"]) == ([5, 8], 2)
    bad: Any = client.get("/documents?user_id=x&since_id=&page=0").json
    assert sorted(bad["errors"]) == ["page", "since_id", "user_id"]


def test_a_filter_of_a_union_is_refused_with_the_cure(app: Flask) -> None:
    @app.get("/both")
    @paginated(DocumentSchema, filters={"id": Document.id})
    def both() -> Any:
        return union(select(Document.id), select(User.id))

    with pytest.raises(TypeError, match="put the UNION into a subquery"):
        app.test_client().get("/both?id=1")


def test_mistakes_in_the_declaration_are_found_at_import() -> None:
    with pytest.raises(ValueError, match="default_sort='-nope'"):
        paginated(DocumentSchema, sortable=SORTABLE, default_sort="-nope")
    with pytest.raises(ValueError, match="total='all'"):
        paginated(DocumentSchema, total="all")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'page' is a parameter of the page itself"):
        paginated(DocumentSchema, filters={"page": Document.id})
