"""What an installed library does all by itself is told, and fails nobody's gate."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from archive import Document, db
from flask import Flask
from sqlalchemy.orm import DeclarativeBase

from flask_perfkit.audit.audit import audit

TEAMS = """
from sqlalchemy import Column, ForeignKey, Integer, Table
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    pass


joined = Table(
    "teams_joined",
    Base.metadata,
    Column("team_id", ForeignKey("teams_team.id"), primary_key=True),
    Column("member_id", ForeignKey("teams_member.id"), primary_key=True),
)


class Team(Base):
    __tablename__ = "teams_team"
    id: Mapped[int] = mapped_column(primary_key=True)
    members: Mapped[list["Member"]] = relationship(secondary=joined)


class Member(Base):
    __tablename__ = "teams_member"
    id: Mapped[int] = mapped_column(primary_key=True)


def fill(session):
    Base.metadata.create_all(session.connection())
    session.add_all([Team(members=[Member()]) for _ in range(10)])
    session.commit()


def may_see(session, number):
    query = session.query(Team).filter(Team.members.any(id=number))
    return session.query(query.exists()).scalar()


def seen(session):
    return str([may_see(session, number) for number in range(10)])


def walked(session, model, name):
    return str(len([getattr(each, name) for each in session.query(model)]))


def viewing(function, *given):
    def view():
        return function(*given)

    return view
"""


@pytest.fixture
def teams(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, app: Flask) -> Iterator[Any]:
    directory = tmp_path / "site-packages"
    directory.mkdir()
    (directory / "teams.py").write_text(TEAMS)
    monkeypatch.syspath_prepend(directory)
    import teams  # type: ignore[import-not-found]

    with app.app_context():
        teams.fill(db.session)
    yield teams
    teams.Base.registry.dispose()
    del sys.modules["teams"]


def found(app: Flask) -> list[tuple[str, str, str | None]]:
    return [(each.kind, each.severity, each.library) for each in audit(app).findings]


def test_a_loop_over_its_own_tables_is_told_once_and_fails_nothing(app: Flask, teams: Any) -> None:
    app.add_url_rule("/seen", "seen", teams.viewing(teams.seen, db.session))
    app.add_url_rule("/seen/too", "too", teams.viewing(teams.seen, db.session))
    app.add_url_rule("/teams", "t", teams.viewing(teams.walked, db.session, teams.Team, "members"))
    problems = audit(app).problems
    assert len(problems) == 2, problems
    (seen, walked) = problems
    assert {(each.finding.severity, each.finding.library) for each in (seen, walked)} == {
        ("info", "teams")
    }
    assert sorted(len(each.addresses) for each in (seen, walked)) == [1, 2]
    options = ("perfkit", "audit", "--fail-on", "warning", "--no-indexes")
    result = app.test_cli_runner().invoke(args=options)
    assert result.exit_code == 0, result.output
    report = " ".join(result.stdout.split())
    assert "in teams, for t (teams's own code and tables: report it there)" in report


def test_the_applications_models_are_its_own_to_load(app: Flask, teams: Any) -> None:
    app.add_url_rule("/", "walk", teams.viewing(teams.walked, db.session, Document, "user"))
    assert found(app) == [("n_plus_one", "error", None)]


def test_a_line_of_the_application_makes_it_its_own(app: Flask, teams: Any) -> None:
    @app.get("/")
    def ask() -> str:
        return str([teams.may_see(db.session, number) for number in range(10)])

    assert found(app) == [("n_plus_one", "error", None)]


def test_what_the_applications_view_returned_is_its_own(app: Flask, teams: Any) -> None:
    def view() -> str:
        return "not called: a decorator of the library answers"

    wrapped = teams.viewing(teams.seen, db.session)
    wrapped.__wrapped__ = view
    app.add_url_rule("/", "ask", wrapped)
    assert found(app) == [("n_plus_one", "error", None)]


def test_a_model_that_the_application_extends_is_its_own(app: Flask, teams: Any) -> None:
    base: type[DeclarativeBase] = teams.Team

    class OwnTeam(base):  # type: ignore[misc, valid-type]
        pass

    assert OwnTeam.__table__.name == "teams_team"
    app.add_url_rule("/", "t", teams.viewing(teams.walked, db.session, teams.Team, "members"))
    assert found(app) == [("n_plus_one", "error", None)]
