from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from flask import Flask
from flask_migrate import check, downgrade, upgrade
from sqlalchemy import event, inspect, text
from sqlalchemy.exc import IntegrityError

from example_app.extensions import db

Move = Callable[..., None]

INDEXES = {
    ("ix_documents_user_id", ("user_id",)),
    ("ix_documents_document_type", ("document_type",)),
    ("ix_documents_uploaded_at", ("uploaded_at",)),
    ("ix_users_active_document_id", ("active_document_id",)),
    ("ix_documents_user_id_document_type", ("user_id", "document_type")),
    ("ix_documents_user_id_uploaded_at", ("user_id", "uploaded_at")),
}


class Interruption(Exception):
    pass


def execute(statement: str) -> None:
    db.session.execute(text(statement))
    db.session.commit()


def rows(columns: str) -> list[tuple[object, ...]]:
    table = columns.partition(".")[0]
    found = db.session.execute(text(f"SELECT {columns} FROM {table} ORDER BY {table}.id"))
    result = [tuple(row) for row in found]
    db.session.commit()
    return result


def indexes() -> set[tuple[str, tuple[str, ...]]]:
    inspector = inspect(db.engine)
    return {
        (index["name"], tuple(index["column_names"]))
        for table in ("users", "documents")
        for index in inspector.get_indexes(table)
    }


def add_rows() -> None:
    execute("INSERT INTO users (name, email) VALUES ('Ada', 'ada@example.com')")
    execute(
        "INSERT INTO documents (user_id, title, document_type, size, uploaded_at, content)"
        " VALUES (1, 'Notes', 'pdf', 5, '2025-01-01 00:00:00', 'Notes')"
    )


def test_rows_stay_on_the_way_up_down_and_up_again(empty_app: Flask) -> None:
    with empty_app.app_context():
        upgrade(revision="002")
        add_rows()
        for _ in range(2):
            upgrade(revision="003")
            assert rows("users.name, users.active_document_id") == [("Ada", None)]
            execute("UPDATE users SET active_document_id = 1")
            upgrade()
            assert rows("users.active_document_id") == [(1,)]
            downgrade(revision="003")
            assert rows("users.active_document_id") == [(1,)]
            downgrade(revision="002")
            assert rows("users.id, users.name") == [(1, "Ada")]
            assert rows("documents.user_id, documents.title") == [(1, "Notes")]
        downgrade(revision="001")
        assert rows("users.id, users.name") == [(1, "Ada")]
        downgrade(revision="base")
        upgrade()
        assert rows("users.id") == rows("documents.id") == []


def test_all_the_way_down_with_rows_and_up_again(empty_app: Flask) -> None:
    with empty_app.app_context():
        for _ in range(2):
            upgrade()
            add_rows()
            execute("UPDATE users SET active_document_id = 1")
            downgrade(revision="base")
        assert inspect(db.engine).get_table_names() == ["alembic_version"]


def test_models_and_revisions_agree(empty_app: Flask) -> None:
    with empty_app.app_context():
        upgrade()
        check()
        execute("DROP INDEX ix_documents_user_id")
        with pytest.raises(SystemExit):
            check()


def test_last_revision_adds_the_six_indexes_and_nothing_else(empty_app: Flask) -> None:
    with empty_app.app_context():
        upgrade(revision="003")
        assert indexes() == set()
        upgrade()
        assert indexes() == INDEXES
        downgrade(revision="003")
        assert indexes() == set()


def test_foreign_keys_are_enforced_after_a_migration_in_the_same_process(
    empty_app: Flask,
) -> None:
    with empty_app.app_context():
        upgrade()
        with pytest.raises(IntegrityError):
            execute(
                "INSERT INTO documents (user_id, title, document_type, size, uploaded_at, content)"
                " VALUES (7, 't', 'pdf', 1, '2025-01-01 00:00:00', '')"
            )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("move", "target", "undo", "start"),
    [(upgrade, "head", downgrade, "002"), (downgrade, "002", upgrade, "head")],
    ids=["upgrade", "downgrade"],
)
def test_a_move_interrupted_anywhere_can_be_made_again(
    empty_app: Flask, move: Move, target: str, undo: Move, start: str
) -> None:
    """Fail before the first, the second, ... statement, until the move gets through."""
    countdown = 0

    def interrupt(*_: object) -> None:
        nonlocal countdown
        countdown -= 1
        if countdown == 0:
            raise Interruption

    with empty_app.app_context():
        upgrade(revision="002")
        add_rows()
        upgrade(revision=start)
        event.listen(db.engine, "before_cursor_execute", interrupt)
        for allowed in range(1, 100):
            countdown = allowed
            try:
                move(revision=target)
            except Interruption:
                move(revision=target)
                assert rows("documents.user_id, documents.title") == [(1, "Notes")]
                assert indexes() == (INDEXES if move is upgrade else set())
                undo(revision=start)
            else:
                break
        assert allowed > 10


def test_invalid_index_of_an_interrupted_build_is_replaced(
    make_app: Callable[..., Flask], postgres_url: str
) -> None:
    app = make_app(SQLALCHEMY_DATABASE_URI=postgres_url)
    valid = (
        "SELECT relname, indisvalid, indexrelid FROM pg_index"
        " JOIN pg_class ON pg_class.oid = indexrelid WHERE relname LIKE 'ix%'"
    )
    plain_url = postgres_url.replace("+psycopg", "")
    with (
        app.app_context(),
        psycopg.connect(plain_url, autocommit=True) as builder,
        psycopg.connect(plain_url) as writer,
    ):
        upgrade(revision="003")
        add_rows()
        builder.execute("CREATE INDEX CONCURRENTLY ix_documents_user_id ON documents (user_id)")
        ((_, _, kept),) = builder.execute(valid).fetchall()
        writer.execute("UPDATE documents SET size = 6")
        builder.execute("SET lock_timeout = '50ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            builder.execute(
                "CREATE INDEX CONCURRENTLY ix_documents_uploaded_at ON documents (uploaded_at)"
            )
        writer.rollback()
        assert ("ix_documents_uploaded_at", False) in [
            row[:2] for row in builder.execute(valid).fetchall()
        ]
        upgrade()
        built = builder.execute(valid).fetchall()
        assert {(name, whole) for name, whole, _ in built} == {(name, True) for name, _ in INDEXES}
        assert ("ix_documents_user_id", True, kept) in built
        assert builder.execute("SHOW lock_timeout").fetchone() == ("50ms",)
        assert db.session.scalar(text("SHOW lock_timeout")) == "0"


def test_script_for_postgresql_does_what_the_upgrade_does(
    make_app: Callable[..., Flask], postgres_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    app = make_app(SQLALCHEMY_DATABASE_URI=postgres_url)
    with app.app_context():
        upgrade(sql=True)
        script = capsys.readouterr().out
        assert script.count("CREATE INDEX CONCURRENTLY") == 6
        with psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True) as connection:
            for statement in script.split(";\n"):
                connection.execute(statement)
        assert indexes() == INDEXES
        check()
