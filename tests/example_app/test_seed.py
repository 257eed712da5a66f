from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from click.testing import Result
from flask import Flask
from flask_migrate import upgrade
from sqlalchemy import event, func, select

from example_app.extensions import db
from example_app.models import Document, User


def run(app: Flask, *arguments: str) -> Result:
    return app.test_cli_runner().invoke(args=["seed", *arguments])


def counts() -> tuple[int | None, int | None]:
    users = db.session.scalar(select(func.count()).select_from(User))
    return users, db.session.scalar(select(func.count()).select_from(Document))


@pytest.fixture
def app(empty_app: Flask) -> Flask:
    with empty_app.app_context():
        upgrade()
    return empty_app


def test_seed_adds_what_is_asked_for(app: Flask) -> None:
    result = run(app, "--documents", "6001", "--users", "30")
    assert result.exit_code == 0, result.output
    assert "6,001 documents of 30 users" in result.output
    with app.app_context():
        assert counts() == (30, 6001)


def test_seed_has_the_skew_of_an_archive(app: Flask) -> None:
    run(app, "--documents", "6000", "--users", "100")
    with app.app_context():
        documents = db.session.scalars(select(Document)).all()
        owned = [count for _, count in Counter(doc.user_id for doc in documents).most_common()]
        types = [
            count for _, count in Counter(doc.document_type for doc in documents).most_common()
        ]
        sizes = sorted(doc.size for doc in documents)
        dates = sorted(doc.uploaded_at for doc in documents)
    assert sum(owned[:20]) > 6000 / 2  # a fifth of the users own more than half
    assert types[0] > 10 * types[-1]
    assert sum(sizes[-600:]) > sum(sizes) / 3  # a tenth of the documents holds a third of the bytes
    assert sizes[0] > 0
    assert all(doc.size == len(doc.content.encode()) for doc in documents)
    assert datetime(2024, 1, 2, tzinfo=UTC) <= dates[0]
    assert dates[-1] <= datetime(2026, 1, 1, tzinfo=UTC)
    assert (dates[-1] - dates[0]).days > 720


def test_users_work_on_their_own_documents(app: Flask) -> None:
    run(app, "--documents", "1000", "--users", "10")
    with app.app_context():
        for user in db.session.scalars(select(User)):
            assert user.active_document in user.documents


def test_seed_is_the_same_on_every_run(make_app: Callable[..., Flask]) -> None:
    columns = (Document.user_id, Document.title, Document.size, Document.uploaded_at)
    found = []
    for _ in range(2):
        app = make_app(DATABASE_URL="sqlite://")
        with app.app_context():
            upgrade()
            run(app, "--documents", "50", "--users", "5")
            found.append(db.session.execute(select(*columns).order_by(Document.id)).all())
    assert len(found[0]) == 50
    assert found[0] == found[1]


def test_filled_database_is_refused_unless_forced(app: Flask) -> None:
    run(app, "--documents", "20", "--users", "2")
    refused = run(app, "--documents", "20", "--users", "2")
    assert refused.exit_code == 1
    assert "--force" in refused.output
    with app.app_context():
        assert counts() == (2, 20)
    assert run(app, "--documents", "20", "--users", "3", "--force").exit_code == 0
    with app.app_context():
        assert counts() == (5, 40)


@pytest.mark.parametrize("revision", [None, "001", "002"])
def test_missing_tables_name_the_cure(empty_app: Flask, revision: str | None) -> None:
    if revision:
        with empty_app.app_context():
            upgrade(revision=revision)
    result = run(empty_app, "--documents", "20")
    assert result.exit_code == 1
    assert "flask db upgrade" in result.output


@pytest.mark.parametrize("option", ["--documents", "--users"])
@pytest.mark.parametrize("count", ["0", "-5", "many", "1.5", "1" * 30])
def test_bad_count_is_refused_and_named(
    make_app: Callable[..., Flask], option: str, count: str
) -> None:
    result = run(make_app(DATABASE_URL="sqlite://"), option, count)
    assert result.exit_code == 2
    assert option in result.output
    assert count in result.output


def test_interrupted_seed_leaves_nothing(app: Flask) -> None:
    def interrupt(*arguments: object) -> None:
        if str(arguments[2]).startswith("UPDATE"):
            raise KeyboardInterrupt

    with app.app_context():
        event.listen(db.engine, "before_cursor_execute", interrupt)
    assert run(app, "--documents", "20", "--users", "2").exit_code != 0
    with app.app_context():
        assert counts() == (0, 0)
