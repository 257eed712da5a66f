from __future__ import annotations

import flask_migrate
import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event

from example_app.extensions import db
from example_app.models import Document, User


@pytest.fixture
def statements(app: Flask) -> list[str]:
    """The statements that the application sends from now on."""
    seen: list[str] = []
    with app.app_context():
        event.listen(
            db.engine, "before_cursor_execute", lambda *arguments: seen.append(arguments[2])
        )
    return seen


@pytest.mark.parametrize(
    ("path", "queries"), [("/analytics", 3), ("/before/analytics", 4)], ids=["now", "before"]
)
def test_numbers(client: FlaskClient, statements: list[str], path: str, queries: int) -> None:
    assert client.get(path).json == {
        "documents": 4,
        "users": 3,
        "size": 100,
        "by_type": {"pdf": 3, "txt": 1},
        "top_users": [
            {"id": 1, "name": "Ada", "documents": 3},
            {"id": 2, "name": "Alan", "documents": 1},
        ],
    }
    assert len(statements) == queries


@pytest.mark.parametrize("path", ["/analytics", "/before/analytics"])
def test_an_empty_archive_has_numbers_too(empty_app: Flask, path: str) -> None:
    with empty_app.app_context():
        flask_migrate.upgrade()
    assert empty_app.test_client().get(path).json == {
        "documents": 0,
        "users": 0,
        "size": 0,
        "by_type": {},
        "top_users": [],
    }


@pytest.mark.parametrize("path", ["/analytics", "/before/analytics"])
def test_ten_users_are_at_the_top_and_the_older_one_wins_a_tie(
    client: FlaskClient, app: Flask, path: str
) -> None:
    with app.app_context():
        for number in range(4, 15):
            documents = [Document(title="t", document_type="pdf", size=2**33) for _ in range(2)]
            db.session.add(User(id=number, name="n", email="e", documents=documents))
        db.session.commit()
    analytics = client.get(path).json
    assert [user["id"] for user in analytics["top_users"]] == [1, 4, 5, 6, 7, 8, 9, 10, 11, 12]
    assert analytics["size"] == 100 + 22 * 2**33
