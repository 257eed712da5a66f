from __future__ import annotations

from datetime import UTC, datetime

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from example_app.extensions import db
from example_app.models import Document, User

NEW = {"user_id": 2, "title": "Letter", "document_type": "txt", "content": "Grüße"}
JSON = "application/json"


def ids(response: TestResponse) -> list[int]:
    return [item["id"] for item in response.json["items"]]


def assert_refused(response: TestResponse, status: int, app: Flask) -> None:
    """Check that the answer is a problem and that the database is as before."""
    assert response.status_code == status, response.text
    assert response.mimetype == "application/problem+json"
    assert response.json["status"] == status
    with app.app_context():
        assert db.session.scalar(select(func.count()).select_from(Document)) == 4
        assert db.session.scalar(select(func.sum(Document.size))) == 100


def test_list_is_newest_first_with_the_offset_envelope(client: FlaskClient) -> None:
    page = client.get("/documents?page_size=3").json
    assert [item["id"] for item in page.pop("items")] == [4, 3, 2]
    assert page == {
        "total": 4,
        "page": 1,
        "page_size": 3,
        "total_pages": 2,
        "has_next": True,
        "has_previous": False,
    }


def test_list_shows_all_but_the_content(client: FlaskClient) -> None:
    (item,) = client.get("/documents?page=4&page_size=1").json["items"]
    assert item == {
        "id": 1,
        "user_id": 1,
        "title": "Document 1",
        "document_type": "pdf",
        "size": 10,
        "uploaded_at": "2025-01-01T00:00:00+00:00",
    }


def test_list_is_sorted_and_filtered(client: FlaskClient, subtests: pytest.Subtests) -> None:
    for query, expected in (
        ("sort=uploaded_at", [1, 2, 3, 4]),
        ("sort=-size", [4, 3, 2, 1]),
        ("sort=document_type,-title", [4, 3, 1, 2]),
        ("user_id=1", [3, 2, 1]),
        ("document_type=pdf", [4, 3, 1]),
        ("user_id=1&document_type=pdf", [3, 1]),
        ("user_id=3", []),
        ("document_type=none", []),
    ):
        with subtests.test(query):
            response = client.get(f"/documents?{query}")
            assert ids(response) == expected
            assert response.json["total"] == len(expected)


def test_bad_query_parameter_is_named(client: FlaskClient, subtests: pytest.Subtests) -> None:
    for query in ("page=0", "page_size=x", "sort=content", "user_id=ada", "document_type=%00"):
        with subtests.test(query):
            response = client.get(f"/documents?{query}")
            assert response.status_code == 400
            assert response.mimetype == "application/problem+json"
            assert list(response.json["errors"]) == [query.partition("=")[0]]


def test_filter_by_an_id_that_no_row_can_have_is_no_fault_of_the_server(
    client: FlaskClient,
) -> None:
    assert client.get("/documents?user_id=0").json["total"] == 0
    assert client.get(f"/documents?user_id={2**63}").status_code == 400


def test_one_document_comes_with_its_content(client: FlaskClient) -> None:
    assert client.get("/documents/2").json == {
        "id": 2,
        "user_id": 1,
        "title": "Document 2",
        "document_type": "txt",
        "size": 20,
        "uploaded_at": "2025-01-02T00:00:00+00:00",
        "content": "Content 2",
    }


def test_new_document_is_answered_with_its_place_and_itself(client: FlaskClient) -> None:
    before = datetime.now(UTC)
    response = client.post("/documents", json=NEW)
    assert response.status_code == 201
    assert response.headers["Location"] == "/documents/5"
    uploaded_at = datetime.fromisoformat(response.json["uploaded_at"])
    assert before <= uploaded_at <= datetime.now(UTC)
    expected = NEW | {"id": 5, "size": 7, "uploaded_at": response.json["uploaded_at"]}
    assert response.json == expected
    assert client.get("/documents/5").json == expected


def test_bad_field_is_refused_and_named(
    client: FlaskClient, app: Flask, subtests: pytest.Subtests
) -> None:
    for field, value in (
        ("user_id", 4),
        ("user_id", 0),
        ("user_id", 2**63),
        ("user_id", True),
        ("user_id", "1"),
        ("user_id", 1.5),
        ("user_id", None),
        ("title", ""),
        ("title", "a\0b"),
        ("title", "x" * 256),
        ("title", "x" * 10_000_000),
        ("document_type", ""),
        ("document_type", "\0"),
        ("document_type", "x" * 51),
        ("content", 7),
        ("content", "\0"),
        ("content", "\ud800"),
        ("id", 9),
        ("size", 9),
        ("colour", "red"),
    ):
        with subtests.test(field, value=repr(value)[:30]):
            for response in (
                client.post("/documents", json=NEW | {field: value}),
                client.patch("/documents/1", json={field: value}),
            ):
                assert_refused(response, 422, app)
                assert list(response.json["errors"]) == [field]


def test_missing_fields_are_named(client: FlaskClient, app: Flask) -> None:
    response = client.post("/documents", json={})
    assert_refused(response, 422, app)
    assert set(response.json["errors"]) == set(NEW)


def test_bad_body_is_refused(client: FlaskClient, app: Flask, subtests: pytest.Subtests) -> None:
    for body, content_type, status in (
        (b"{", JSON, 400),
        (b"", JSON, 400),
        (b"\xff", JSON, 400),
        (b"[" * 200_000, JSON, 400),
        (b'{"user_id": ' + b"1" * 5000 + b"}", JSON, 400),
        (b'{"user_id": NaN}', JSON, 422),
        (b"[]", JSON, 422),
        (b"null", JSON, 422),
        (b"title=x", "application/x-www-form-urlencoded", 415),
        (b"{}", "text/plain", 415),
        (b"x" * 17_000_000, JSON, 413),
    ):
        with subtests.test(repr(body)[:30], content_type=content_type):
            for send, path in ((client.post, "/documents"), (client.patch, "/documents/1")):
                assert_refused(send(path, data=body, content_type=content_type), status, app)


def test_change_touches_only_what_is_named(client: FlaskClient) -> None:
    before = client.get("/documents/1").json
    response = client.patch("/documents/1", json={"content": "äöü", "user_id": 3})
    assert response.status_code == 200
    assert response.json == before | {"content": "äöü", "size": 6, "user_id": 3}
    assert client.get("/documents/1").json == response.json


def test_change_of_nothing_answers_with_the_document(client: FlaskClient) -> None:
    response = client.patch("/documents/1", json={})
    assert response.status_code == 200
    assert response.json == client.get("/documents/1").json


def test_deleted_document_is_gone_and_no_user_refers_to_it(client: FlaskClient, app: Flask) -> None:
    with app.app_context():
        db.session.get_one(User, 1).active_document_id = 2
        db.session.get_one(User, 2).active_document_id = 4
        db.session.commit()
    response = client.delete("/documents/2")
    assert (response.status_code, response.data) == (204, b"")
    assert client.get("/documents/2").status_code == 404
    with app.app_context():
        statement = select(User.id, User.active_document_id).order_by(User.id)
        assert db.session.execute(statement).all() == [(1, None), (2, 4), (3, None)]


def test_unknown_or_impossible_id_is_not_found(
    client: FlaskClient, app: Flask, subtests: pytest.Subtests
) -> None:
    for key in ("5", "0", "-1", str(2**63 - 1), str(2**63), "1" * 6000, "x", "٣"):
        with subtests.test(key[:30]):
            for response in (
                client.get(f"/documents/{key}"),
                client.patch(f"/documents/{key}", json={"title": "x"}),
                client.patch(f"/documents/{key}", json={}),
                client.delete(f"/documents/{key}"),
                client.get(f"/users/{key}/documents"),
            ):
                assert_refused(response, 404, app)


def test_documents_of_a_user_are_paged(client: FlaskClient) -> None:
    response = client.get("/users/1/documents?page_size=2&sort=title")
    assert ids(response) == [1, 2]
    assert response.json["total"] == 3
    assert ids(client.get("/users/3/documents")) == []


def test_what_a_client_made_up_is_said_back_in_part_only(client: FlaskClient) -> None:
    response = client.post(
        "/documents", json={"x" * 1_000_000: 1, **{f"y{n}": 1 for n in range(99)}}
    )
    assert response.status_code == 422
    assert len(response.data) < 10_000
    assert "Unknown field." in response.text
