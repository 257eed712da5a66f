"""An audit of the example application finds what its ``/before`` was made for, and cures it."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask_migrate import upgrade
from sqlalchemy import Connection, inspect, text

from example_app import MIGRATIONS, seed
from example_app.extensions import db

SIX = {
    "documents": {
        ("user_id",),
        ("document_type",),
        ("uploaded_at",),
        ("user_id", "document_type"),
        ("user_id", "uploaded_at"),
    },
    "users": {("active_document_id",)},
}
"""The indexes of revision 004, as columns."""


@pytest.fixture
def unindexed(
    make_app: Callable[..., Flask],
    database_url: str,
    redis_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Flask]:
    """The application in a directory of its own, whose last revision is 003."""
    revisions = shutil.ignore_patterns("004*", "__pycache__")
    migrations = shutil.copytree(MIGRATIONS, tmp_path / "migrations", ignore=revisions)
    app = make_app(TESTING=True, SQLALCHEMY_DATABASE_URI=database_url, REDIS_URL=redis_url)
    for known in (app.extensions["migrate"], app.extensions["migrate"].migrate):
        monkeypatch.setattr(known, "directory", str(migrations))
    with app.app_context():
        upgrade()
        seed.fill(documents=10_000, users=1000)
        with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            _vacuum(connection)
        yield app


def _vacuum(connection: Connection) -> None:
    """Vacuum, as PostgreSQL does by itself soon, until it counts: a busy server holds it up."""
    visible = text("SELECT relallvisible >= relpages FROM pg_class WHERE relname = 'documents'")
    for _ in range(100):
        connection.execute(text("VACUUM"))
        if connection.dialect.name == "sqlite" or connection.scalar(visible):
            return
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.timeout(900)  # to be ended in the middle of an audit breaks more than the test
def test_ten_problems_and_their_cure(unindexed: Flask) -> None:
    """What is written serves all that revision 004 serves: an index that goes on does it too."""
    report = audited(unindexed)
    assert errors(report) == {
        ("before.list_documents", "unbounded_result"),
        ("before.show_analytics", "n_plus_one"),
        ("before.show_analytics", "unbounded_result"),  # one owner has more than a thousand
        ("before.sleep", "blocking_call"),
        ("before.count_keys", "redis_keys"),
    }
    (fix,) = {each["fix"] for each in report["findings"] if each["kind"] == "n_plus_one"}
    assert fix == (  # the time is in the objects, which a loader option would still build
        "select(Document.user_id, Document.document_type, func.sum(Document.size), func.count())"
        ".group_by(Document.user_id, Document.document_type)"
    )
    told = "\n".join(messages(report, "missing_index"))
    for columns in (columns for six in SIX.values() for columns in six):
        assert f"({', '.join(columns)})" in told
    run(unindexed, "indexes", "--migration")
    upgrade()
    for table, wanted in SIX.items():
        built = [index["column_names"] for index in inspect(db.engine).get_indexes(table)]
        for columns in wanted:
            assert any(tuple(names[: len(columns)]) == columns for names in built)
    again = audited(unindexed)
    assert errors(again) == errors(report)
    assert messages(again, "missing_index") == messages(again, "redundant_index") == []


def audited(app: Flask) -> dict[str, Any]:
    result = run(app, "audit", "--json", "--fail-on", "error", "--seconds", "500")
    assert result.exit_code == 1
    report: dict[str, Any] = json.loads(result.stdout)
    return report


def run(app: Flask, *arguments: str) -> Any:
    return app.test_cli_runner().invoke(args=["perfkit", *arguments])


def errors(report: dict[str, Any]) -> set[tuple[str, str]]:
    found = [each for each in report["findings"] if each["severity"] == "error"]
    return {(each["endpoint"], each["kind"]) for each in found}


def messages(report: dict[str, Any], kind: str) -> list[str]:
    return [each["message"] for each in report["findings"] if each["kind"] == kind]
