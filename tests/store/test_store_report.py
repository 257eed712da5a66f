"""``flask perfkit report``: what the store holds, in the terminal."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from archive import archive, names_of_owners
from flask import Flask
from stored import ask

from flask_perfkit import PerfKit


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    with archive(storage_url=f"sqlite:///{tmp_path / 'perfkit.db'}") as app:
        app.config["PROPAGATE_EXCEPTIONS"] = False
        app.add_url_rule("/owners", view_func=names_of_owners)
        app.add_url_rule("/broken", "broken", lambda: 1 / 0)  # type: ignore[arg-type, return-value]
        yield app


def report(app: Flask, *options: str) -> str:
    result = app.test_cli_runner().invoke(args=["perfkit", "report", *options])
    assert result.exit_code == 0, result.output
    return result.output


def test_a_report_to_read(app: Flask) -> None:
    ask(app, "/owners", 3)
    ask(app, "/broken")
    text = report(app)
    lines = text.splitlines()
    assert max(map(len, lines[1:])) <= 80
    figures = lines[lines.index("GET /owners") + 1].split()
    assert figures[0] == "3"
    assert figures[-2:] == ["11.0", "0.0%"]
    assert lines[lines.index("GET /owners") + 2].strip() == "found: n_plus_one in 3"
    assert lines[lines.index("GET /broken") + 1].split()[-1] == "100.0%"
    assert re.search(
        r"^  n_plus_one: Document.user at tests/archive.py:\d+: 3 requests,", text, re.M
    )
    assert "    joinedload(Document.user)" in lines


def test_a_report_as_json(app: Flask) -> None:
    ask(app, "/owners", 3)
    found = json.loads(report(app, "--json", "--since", "10m"))
    assert found["until"] - found["since"] == pytest.approx(600)
    owners = next(each for each in found["routes"] if each["name"] == "/owners")
    assert (owners["method"], owners["count"], owners["findings"]) == ("GET", 3, {"n_plus_one": 3})
    assert owners["per_second"] == pytest.approx(3 / 600)
    (finding,) = found["findings"]
    assert (finding["kind"], finding["requests"], finding["state"]) == ("n_plus_one", 3, "open")
    assert found["indexes"] is None


def test_a_report_of_a_sample_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flask_perfkit.hooks.requests.random", lambda: 0.0)
    with archive(storage_url=f"sqlite:///{tmp_path / 'perfkit.db'}", sample_rate=0.1) as app:
        app.add_url_rule("/owners", view_func=names_of_owners)
        ask(app, "/owners")
        text = report(app)
    assert "~10" in text
    assert "~10 requests" in text


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, "nothing is stored: set PERFKIT_STORAGE_URL"),
        ({"storage_url": "memory://"}, "PERFKIT_STORAGE_URL is memory://, the memory of"),
        ({"storage_url": "redis://u:hunter2@127.0.0.1:1"}, "redis://127.0.0.1:1 (PERFKIT_STORAGE"),
    ],
)
def test_where_nothing_can_be_shown_it_says_what_to_set(config: Any, words: str) -> None:
    with archive(**config) as app:
        result = app.test_cli_runner().invoke(args=["perfkit", "report"])
    assert result.exit_code == 1
    assert words in result.output
    assert "hunter2" not in result.output


def test_a_time_that_is_none_is_refused(app: Flask) -> None:
    result = app.test_cli_runner().invoke(args=["perfkit", "report", "--since", "soon"])
    assert result.exit_code == 2
    assert '"30m", "1h" or "7d"' in result.output


@pytest.mark.slow
def test_the_use_of_indexes_on_postgresql(postgres_url: str, tmp_path: Path) -> None:
    from flask_sqlalchemy import SQLAlchemy

    from flask_perfkit import PerfKit

    database = SQLAlchemy()
    app = Flask("indexed")
    app.config["SQLALCHEMY_DATABASE_URI"] = postgres_url
    app.config["PERFKIT_STORAGE_URL"] = f"sqlite:///{tmp_path / 'perfkit.db'}"
    database.init_app(app)
    PerfKit(app, database)
    with app.app_context():
        with database.engine.begin() as connection:
            connection.execute(sa.text("CREATE TABLE pages (id int PRIMARY KEY)"))
        found = json.loads(report(app, "--json"))
        text = report(app, "--since", "1s")
        database.engine.dispose()
    (index,) = found["indexes"]
    assert (index["table"], index["name"], index["scans"]) == ("public.pages", "pages_pkey", 0)
    assert "No request has come in since." in text
    assert "  public.pages pages_pkey: 8 kB, never used" in text


def test_an_application_with_nothing_but_binds_has_its_report(tmp_path: Path) -> None:
    """Flask-SQLAlchemy has no engine to ask for the use of indexes there, and raises."""
    from flask_sqlalchemy import SQLAlchemy

    app = Flask("binds")
    app.config.update(
        SQLALCHEMY_BINDS={"main": "sqlite://"},
        PERFKIT_STORAGE_URL=f"sqlite:///{tmp_path / 'perfkit.db'}",
    )
    database = SQLAlchemy()
    database.init_app(app)
    PerfKit(app)
    assert report(app).endswith("No request has come in since.\n")
