"""Applications that turn batching on, one beside the other, and what they are told."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from batching_models import Base, Document, User
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_perfkit import PerfKit, QueryCounter

USERS = 30

MakeApp = Callable[..., Flask]


@pytest.fixture
def make_app(tmp_path: Path) -> Iterator[MakeApp]:
    """Return a way to make an application of which ``/`` loops over users' documents."""
    apps: list[tuple[Flask, SQLAlchemy]] = []

    def make(**settings: Any) -> Flask:
        url = f"sqlite:///{tmp_path / f'{len(apps)}.db'}"
        app = Flask("batching")
        app.config.update(SQLALCHEMY_DATABASE_URI=url, PERFKIT_ON_FINDING="ignore", **settings)
        db = SQLAlchemy(app, model_class=Base)
        apps.append((app, db))
        PerfKit(app, db)
        with app.app_context():
            Base.metadata.create_all(db.engine)
            for n in range(USERS):
                document = Document(title="x", kind="note")
                db.session.add(User(name=f"user {n}", documents=[document]))
            db.session.commit()

        @app.get("/")
        def walk() -> dict[str, Any]:
            with QueryCounter() as counter:
                users = db.session.scalars(db.select(User)).all()
                assert sum(len(user.documents) for user in users) == USERS
            findings = [finding.message for finding in counter.findings]
            return {"queries": counter.count, "findings": findings}

        return app

    yield make
    for app, db in apps:
        with app.app_context():
            for engine in db.engines.values():
                engine.dispose()


def ask(app: Flask) -> Any:
    return app.test_client().get("/").get_json()


@pytest.mark.parametrize(
    ("settings", "queries"),
    [
        ({}, 31),
        ({"PERFKIT_AUTO_BATCH": True}, 5),
        ({"PERFKIT_AUTO_BATCH": ("User.documents",)}, 5),
        ({"PERFKIT_AUTO_BATCH": ("User.team",)}, 31),
        ({"PERFKIT_AUTO_BATCH": True, "PERFKIT_ENABLED": False}, 31),
        ({"PERFKIT_AUTO_BATCH": True, "PERFKIT_SAMPLE_RATE": 0.0}, 5),
    ],
    ids=["off", "on", "named", "another", "disabled", "unsampled"],
)
def test_setting(make_app: MakeApp, settings: dict[str, Any], queries: int) -> None:
    assert ask(make_app(**settings))["queries"] == queries


def test_each_application_has_its_own_way(make_app: MakeApp) -> None:
    before, batching, after = make_app(), make_app(PERFKIT_AUTO_BATCH=True), make_app()
    assert [ask(app)["queries"] for app in (batching, before, after, batching)] == [5, 31, 31, 5]


def test_a_name_that_no_model_has_is_told_once(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app(PERFKIT_AUTO_BATCH=("User.docments",))
    with caplog.at_level(logging.WARNING, "flask_perfkit"):
        assert [ask(app)["queries"] for _ in range(2)] == [31, 31]
    (message,) = [each.getMessage() for each in caplog.records if "AUTO_BATCH names" in each.msg]
    assert message == (
        "PERFKIT_AUTO_BATCH names User.docments, which no model has; did you mean User.documents?"
    )


def test_the_finding_says_what_batching_would_save(make_app: MakeApp) -> None:
    (message,) = ask(make_app())["findings"]
    assert message.startswith("n_plus_one: User.documents loaded 30 times (")
    assert message.endswith("(instead of 30 queries), or set PERFKIT_AUTO_BATCH (about 4 queries)")


def test_the_finding_says_what_batching_did(make_app: MakeApp) -> None:
    (message,) = ask(make_app(PERFKIT_AUTO_BATCH=True))["findings"]
    # The first user is loaded alone; then 4, 20 and the last 5.
    assert message.startswith(
        "n_plus_one: User.documents loaded 3 times by auto-batching, for 29 objects ("
    )
    assert "add selectinload(User.documents) to the select at" in message
    assert "PERFKIT_AUTO_BATCH" not in message


def test_a_batch_is_nobodys_eager_load(make_app: MakeApp) -> None:
    app = make_app(PERFKIT_AUTO_BATCH=True, TESTING=True)
    findings = ask(app)["findings"]
    assert [each.partition(":")[0] for each in findings] == ["n_plus_one"]
