"""What passes through statements is never kept, shown, logged or sent."""

from __future__ import annotations

import gc
import json
import logging
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from archive import Document, User, archive, db, profiles
from flask import Flask, request

from flask_perfkit import Profile, QueryCounter

SECRET = "hunter2-Zq8"


@pytest.fixture
def app() -> Iterator[Flask]:
    with archive(server_timing=True, unbounded_rows=5, slow_query=1e-9, slow_request=1e-9) as app:
        yield app


def by_parameter() -> None:
    for number in range(6):
        db.session.execute(sa.select(User).where(User.name == f"{SECRET} {number}")).all()


def by_literal() -> None:
    for number in range(6):
        db.session.execute(sa.text(f"SELECT id FROM user WHERE name = '{SECRET} {number}'")).all()


def by_list() -> None:
    for number in range(6):
        db.session.scalars(
            sa.select(User.id).where(User.name.in_([SECRET, f"{SECRET} {number}"]))
        ).all()


def by_write() -> None:
    for number in range(6):
        db.session.add(User(id=100 + number, name=SECRET))
        db.session.flush()
        db.session.execute(sa.update(User).values(bio=SECRET).where(User.id == 100 + number))
    db.session.execute(sa.insert(Document), [{"user_id": 1, "title": SECRET}] * 10)
    db.session.rollback()


def by_failure() -> None:
    for number in range(6):
        for statement in (
            sa.text(f"SELECT id FROM missing WHERE name = '{SECRET} {number}'"),
            sa.text(f"SELECT id FROM user WHERE name = '{SECRET} {number}"),
        ):
            with pytest.raises(sa.exc.OperationalError):
                db.session.execute(statement)
        with pytest.raises(sa.exc.IntegrityError):
            db.session.execute(sa.insert(User).values(id=1, name=SECRET))


def by_comment() -> None:
    for number in range(6):
        db.session.execute(sa.text(f"SELECT id FROM user /* {SECRET} */ WHERE id = {number}")).all()


def by_result() -> None:
    db.session.add_all(User(id=100 + number, name=SECRET) for number in range(10))
    db.session.flush()
    assert db.session.scalars(sa.select(User.name)).all().count(SECRET) == 10
    db.session.rollback()


WAYS = [by_parameter, by_literal, by_list, by_write, by_failure, by_comment, by_result]


@pytest.mark.parametrize("way", WAYS)
def test_nothing_of_a_statement_comes_out(
    app: Flask, way: Any, caplog: pytest.LogCaptureFixture
) -> None:
    app.add_url_rule("/", view_func=lambda: (way(), "ok")[1])
    with profiles(app) as collected, caplog.at_level(logging.DEBUG, "flask_perfkit"):
        response = app.test_client().get("/")
        assert response.status_code == 200

    (profile,) = collected
    assert profile.findings
    shown = [
        json.dumps(profile.to_dict()),
        repr(profile),
        repr(profile.findings),
        str(response.headers),
        caplog.text,
    ]
    assert all(SECRET not in text for text in shown)


@pytest.mark.parametrize("way", WAYS)
def test_nothing_of_a_statement_is_kept(app: Flask, way: Any) -> None:
    app.add_url_rule("/", view_func=lambda: (way(), "ok")[1])
    with profiles(app) as collected:
        app.test_client().get("/")
    assert not secrets_in(collected)


@pytest.mark.parametrize("debug", [True, False])
def test_nothing_is_stored(tmp_path: Path, debug: bool) -> None:
    path = tmp_path / "perfkit.db"
    url = f"sqlite:///{path}"
    with archive(storage_url=url, unbounded_rows=5, slow_query=1e-9, DEBUG=debug) as app:

        @app.post("/<int:number>")
        def take(number: int) -> str:
            WAYS[number]()
            return request.form["password"]

        app.add_url_rule("/reset/<reset_token>", "reset", lambda reset_token: "ok")
        client = app.test_client()
        for number in range(len(WAYS)):
            client.post(
                f"/{number}?token={SECRET}",
                data={"password": SECRET},
                headers={"Authorization": SECRET, "Cookie": f"s={SECRET}", "User-Agent": SECRET},
            )
        client.get(f"/reset/{SECRET}")
        assert app.extensions["perfkit"].store.info().profiles >= len(WAYS)
    written = b"".join(each.read_bytes() for each in tmp_path.iterdir())
    assert b"perfkit_profiles" in written
    texts = [*unpacked(path)]
    assert any("reset" in text for text in texts)
    assert SECRET.encode() not in written
    assert all(SECRET not in text for text in texts)


def unpacked(path: Path) -> Iterator[str]:
    """Yield each value of each table of a store, those that are compressed too."""
    with closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        for (table,) in tables.fetchall():
            for row in connection.execute(f"SELECT * FROM {table}"):
                for value in row:
                    is_packed = isinstance(value, bytes)
                    yield zlib.decompress(value).decode() if is_packed else str(value)


def test_a_cure_keeps_nothing_of_the_statement_that_it_mends(app: Flask) -> None:
    def owners() -> list[str]:
        some = sa.select(Document).where(Document.title != SECRET)
        names = [document.user.name for document in db.session.scalars(some)]
        for number in range(1, 11):
            one = sa.select(User).where(User.id == number, User.name != SECRET)
            names += [user.name for user in db.session.scalars(one)]
        return names

    app.add_url_rule("/", view_func=owners)
    with profiles(app) as collected:
        app.test_client().get("/")
    found = [each for each in collected[0].findings if each.kind == "n_plus_one"]
    assert len(found) == 2
    assert [finding.subject for finding in found if finding.cure is not None] == ["Document.user"]
    assert not secrets_in(collected)


def secrets_in(collected: list[Profile]) -> list[str]:
    """Return the texts with the secret that can be reached from profiles."""
    seen: set[int] = set()
    waiting: list[Any] = list(collected)
    found = []
    while waiting:
        each = waiting.pop()
        if id(each) in seen or isinstance(each, type):
            continue
        seen.add(id(each))
        if isinstance(each, str | bytes):
            if SECRET in str(each):
                found.append(str(each))
        else:
            waiting += gc.get_referents(each)
    return found


def test_a_block_keeps_no_parameter_after_its_end(app: Flask) -> None:
    with app.app_context():
        with QueryCounter() as counter:
            by_parameter()
        assert counter.findings
        assert SECRET not in repr(counter.queries)
        assert SECRET not in repr(vars(counter))


def test_nothing_of_a_request_comes_out(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    @app.post("/<int:number>")
    def take(number: int) -> str:
        assert request.form["password"] == SECRET
        return "ok"

    with profiles(app) as collected, caplog.at_level(logging.DEBUG, "flask_perfkit"):
        response = app.test_client().post(
            f"/7?token={SECRET}",
            data={"password": SECRET},
            headers={"Authorization": f"Bearer {SECRET}", "Cookie": f"session={SECRET}"},
        )
    assert collected[0].path == "/7"
    shown = [
        json.dumps(collected[0].to_dict()),
        repr(collected),
        str(response.headers),
        caplog.text,
    ]
    assert all(SECRET not in text for text in shown)
    assert not secrets_in(collected)


def test_a_password_in_a_bad_setting_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.DEBUG),
        pytest.raises(ValueError, match="PERFKIT_REDIS_URL") as caught,
        archive(redis_url=f"http://user:{SECRET}@host"),
    ):
        pass
    assert SECRET not in str(caught.value)
    assert SECRET not in caplog.text
