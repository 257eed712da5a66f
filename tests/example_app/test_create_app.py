from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask
from sqlalchemy import text

from example_app import create_app
from example_app.extensions import db


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "REDIS_URL", "SECRET_KEY"):
        monkeypatch.delenv(name, raising=False)


def database(app: Flask) -> str:
    with app.app_context():
        return db.engine.url.render_as_string(hide_password=False)


def test_defaults_are_sqlite_without_redis_and_a_key_nobody_knows() -> None:
    first, second = create_app(), create_app()
    assert database(first).startswith("sqlite:///")
    assert database(first).endswith("/instance/example.db")
    assert first.config["PERFKIT_REDIS_URL"] is None
    assert len(first.config["SECRET_KEY"]) >= 32
    assert first.config["SECRET_KEY"] != second.config["SECRET_KEY"]


def test_environment_sets_database_redis_and_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://ada:pw@localhost/archive")
    monkeypatch.setenv("REDIS_URL", "redis://localhost:6379/3")
    monkeypatch.setenv("SECRET_KEY", "key")
    app = create_app()
    assert database(app) == "postgresql+psycopg://ada:pw@localhost/archive"
    assert app.config["PERFKIT_REDIS_URL"] == "redis://localhost:6379/3"
    assert app.config["SECRET_KEY"] == "key"


def test_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "")
    monkeypatch.setenv("REDIS_URL", "")
    app = create_app()
    assert database(app).endswith("/instance/example.db")
    assert app.config["PERFKIT_REDIS_URL"] is None


@pytest.mark.parametrize("key", ["DATABASE_URL", "SQLALCHEMY_DATABASE_URI"])
def test_mapping_is_laid_over_the_environment(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://localhost/archive")
    app = create_app({key: "sqlite://", "SECRET_KEY": "mine", "PERFKIT_PAGE_SIZE": 7})
    assert database(app) == "sqlite://"
    assert app.config["SECRET_KEY"] == "mine"
    assert app.config["PERFKIT_PAGE_SIZE"] == 7


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("postgresql://localhost/a", "postgresql+psycopg"),
        ("postgres://localhost/a", "postgresql+psycopg"),
        ("postgresql+psycopg://localhost/a", "postgresql+psycopg"),
        ("sqlite:////tmp/a.db", "sqlite"),
    ],
)
def test_bare_postgresql_means_psycopg_3(url: str, driver: str) -> None:
    assert database(create_app({"DATABASE_URL": url})).partition(":")[0] == driver


def test_bad_database_url_is_named_without_its_password() -> None:
    with pytest.raises(ValueError, match="DATABASE_URL") as error:
        create_app({"DATABASE_URL": "ada:secret@localhost"})
    assert "secret" not in str(error.value)


def test_two_applications_keep_their_own_databases(make_app: Callable[..., Flask]) -> None:
    apps = [make_app(DATABASE_URL="sqlite://") for _ in range(2)]
    for number, app in enumerate(apps):
        with app.app_context():
            db.session.execute(text(f"CREATE TABLE only_{number} (id INTEGER)"))
            db.session.commit()
    for number, app in enumerate(apps):
        with app.app_context():
            names = db.session.scalars(text("SELECT name FROM sqlite_schema")).all()
            assert names == [f"only_{number}"]
