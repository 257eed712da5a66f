"""Advice on statements that were recorded elsewhere, or sent as text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flask_perfkit import PerfKit
from flask_perfkit.advice.shapes.file import write_shapes
from flask_perfkit.advice.shapes.shape import StatementShape
from flask_perfkit.audit import Workload, advise


class Base(DeclarativeBase):
    pass


db = SQLAlchemy(model_class=Base)


class Letter(db.Model):  # type: ignore[misc, name-defined]
    id: Mapped[int] = mapped_column(primary_key=True)
    sender: Mapped[int]
    state: Mapped[str]
    weight: Mapped[int]


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Flask]:
    app = Flask("post")
    app.config.update(
        TESTING=True,
        SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path}/post.db",
        PERFKIT_STORAGE_URL=f"sqlite:///{tmp_path}/perfkit.db",
    )
    db.init_app(app)
    PerfKit(app)
    with app.app_context():
        db.create_all()
        rows = [
            {"sender": n % 700, "state": "lost" if n % 500 == 0 else "sent", "weight": n}
            for n in range(20_000)
        ]
        db.session.execute(sa.insert(Letter), rows)
        db.session.commit()
        yield app
        db.engine.dispose()


def test_a_workload_from_a_file(app: Flask, tmp_path: Path) -> None:
    """What is no SELECT of the models is said and left out; values come from the rows."""
    file = tmp_path / "work.json"
    write_shapes(
        file,
        [
            StatementShape("SELECT letter.id FROM letter WHERE letter.sender = ?", 40, 0.5),
            StatementShape("SELECT letter.id FROM letter WHERE letter.sender IN (...)", 2, 0.2),
            StatementShape("SELECT letter.id FROM letter WHERE lower(letter.state) = ?", 9, 0.1),
            StatementShape("INSERT INTO letter (sender) VALUES (?), ...", 1, 0.1, 20),
            StatementShape("DROP TABLE letter", 1, 0.1),
            StatementShape("DELETE FROM letter WHERE letter.id = ?", 1, 0.1, 1),
        ],
    )
    result = app.test_cli_runner().invoke(
        args=["perfkit", "indexes", "--sql", "--workload", str(file)]
    )
    assert result.exit_code == 0, result.output
    assert result.stdout == (
        "CREATE INDEX ix_letter_sender ON letter (sender);\n"
        "CREATE INDEX ix_letter_lower_state ON letter ((lower(state)));\n"
    )
    assert result.stderr == "not read, DROP is not known: DROP TABLE letter\n"
    assert db.session.scalar(sa.select(sa.func.count()).select_from(Letter)) == 20_000


def test_a_workload_from_the_store(app: Flask) -> None:
    @app.get("/of/<int:sender>")
    def of(sender: int) -> str:
        return str(len(db.session.scalars(sa.select(Letter).where(Letter.sender == sender)).all()))

    for sender in range(3):
        app.test_client().get(f"/of/{sender}")
    result = app.test_cli_runner().invoke(args=["perfkit", "indexes", "--since", "1h"])
    assert result.exit_code == 0, result.output
    assert "CREATE INDEX ix_letter_sender ON letter (sender);" in result.stdout
    assert "asked 3 times by /of/<int:sender>" in result.stdout


def test_a_file_that_is_none(app: Flask, tmp_path: Path) -> None:
    (tmp_path / "work.json").write_text("import os")
    result = app.test_cli_runner().invoke(
        args=["perfkit", "indexes", "--workload", str(tmp_path / "work.json")]
    )
    assert result.exit_code == 1
    assert "cannot be read as a workload" in result.stderr


def test_statements_that_are_text(app: Flask) -> None:
    with Workload(app) as workload:
        db.session.execute(sa.text("SELECT * FROM letter WHERE sender = :who"), {"who": 7}).all()
        db.session.execute(sa.text("WITH x AS (SELECT 1 AS n) SELECT n FROM x")).all()
    advice = advise(workload)
    assert [one.sql for one in advice.create] == [
        "CREATE INDEX ix_letter_sender ON letter (sender)"
    ]
    assert advice.notes == ("1 statement sent as text could not be read and got no index",)


def test_a_state_that_a_request_names_gets_no_partial_index(app: Flask) -> None:
    """The next request may name another one; what stands in the code stays the same."""

    @app.get("/letters/<state>")
    def letters(state: str) -> str:
        return str(len(db.session.scalars(sa.select(Letter).where(Letter.state == state)).all()))

    @app.get("/lost")
    def lost() -> str:
        return str(len(db.session.scalars(sa.select(Letter).where(Letter.state == "lost")).all()))

    def asked(path: str) -> list[str]:
        with Workload(app) as workload:
            assert app.test_client().get(path).text == "40"
        return [str(one.index) for one in advise(workload).create]

    assert asked("/letters/lost") == ["(state)"]
    assert asked("/lost") == ["(id) where state = 'lost'"]
