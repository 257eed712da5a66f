"""Views in a module of their own, as they are and as a patch makes them, asked with any data."""

from __future__ import annotations

import importlib.util
import itertools
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent, indent
from types import ModuleType

import sqlalchemy as sa
from archive import profiles
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DynamicMapped, Mapped, mapped_column, relationship

from flask_perfkit import Finding, PerfKit
from flask_perfkit.audit.patches.draft import Draft, drafted
from flask_perfkit.audit.patches.patch import grouped

db = SQLAlchemy()

HEAD = """\
from flask import abort, g, jsonify, request
from rewriting import Game, Goal, Note, Player, Team, db
from sqlalchemy import bindparam, delete, exists, func, insert, select, update

"""
KEYS = "ks = [int(k) for k in request.args.getlist('k')]"
_numbers = itertools.count()


class Team(db.Model):  # type: ignore[name-defined, misc]
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    captain_id: Mapped[int | None]
    players: DynamicMapped[Player] = relationship(viewonly=True)


class Player(db.Model):  # type: ignore[name-defined, misc]
    id: Mapped[int] = mapped_column(primary_key=True)
    team_id: Mapped[int] = mapped_column(sa.ForeignKey("team.id"))
    name: Mapped[str]
    rating: Mapped[int] = mapped_column(default=5)
    nick: Mapped[str | None]


class Game(db.Model):  # type: ignore[name-defined, misc]
    season: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    home_id: Mapped[int] = mapped_column(sa.ForeignKey("team.id"))


class Goal(db.Model):  # type: ignore[name-defined, misc]
    id: Mapped[int] = mapped_column(primary_key=True)
    player_id: Mapped[int | None] = mapped_column(sa.ForeignKey("player.id"))
    minute: Mapped[int]


class Note(db.Model):  # type: ignore[name-defined, misc]
    id: Mapped[int] = mapped_column(primary_key=True)
    text: Mapped[str]
    level: Mapped[int] = mapped_column(default=3)


def _fill() -> None:
    session = db.session
    for number in range(1, 13):
        captain = number if number % 3 else None
        session.add(Team(id=number, name=f"team {number}", captain_id=captain))
    for number in range(1, 37):
        nick = f"nick {number % 4}" if number % 5 else None
        team = (number * 7) % 11 + 1
        session.add(
            Player(id=number, team_id=team, name=f"p{number}", rating=number % 6, nick=nick)
        )
    for number in range(1, 25):
        session.add(Game(season=2000 + number % 4, number=number, home_id=number % 12 + 1))
    for number in range(1, 41):
        session.add(Goal(player_id=number % 9 or None, minute=number * 3 % 90))
    session.commit()
    session.remove()


@contextmanager
def league() -> Iterator[Flask]:
    """Make an application with a filled database in memory: twelve teams, and what they do."""
    app = Flask("league", root_path=".")
    app.config.update(TESTING=True, PERFKIT_SLOW_REQUEST=60.0, PERFKIT_SLOW_QUERY=60.0)
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    db.init_app(app)
    PerfKit(app)
    with app.app_context():
        db.create_all()
        _fill()
    try:
        yield app
    finally:
        with app.app_context():
            db.engine.dispose()


@dataclass(frozen=True)
class Rewriting:
    """A module of views, and the draft of a patch for what was found in one request."""

    text: str
    draft: Draft

    @property
    def added(self) -> str:
        """The lines that the patch adds."""
        lines = self.draft.source.diff(self.draft.text).splitlines()
        return "\n".join(line[1:] for line in lines if line[0] == "+" and line[1:2] != "+")

    def is_the_same_for(self, addresses: Sequence[str]) -> list[tuple[int, int]]:
        """Ask both with any data; return how many statements each took, before and after.

        :raises AssertionError: a response differs, or the rows that are left.
        """
        before = [_asked(self.text, address) for address in addresses]
        after = [_asked(self.draft.text, address) for address in addresses]
        for address, one, other in zip(addresses, before, after, strict=True):
            assert other[:3] == one[:3], f"{address}: {one[:3]} {other[:3]}\n{self.added}"
        return [(one[3], other[3]) for one, other in zip(before, after, strict=True)]


def rewriting(path: Path, body: str, address: str, kind: str, helpers: str = "") -> Rewriting:
    """Write a view, ask for it, and draft the patch for what was found.

    :param body: the view after its first line, which makes ``ks`` of the address.

    :raises Refusal: there is none.
    """
    view = f"def view():\n    {KEYS}\n{indent(dedent(body), '    ')}\n"
    text = f"{HEAD}{dedent(helpers)}\n\n{view}"
    name = f"rewritten_{next(_numbers)}"
    file = path / f"{name}.py"
    file.write_text(text)
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        with league() as app:
            app.add_url_rule("/", "view", module.view, methods=["GET"])
            found = _found(app, address)
            group = next(each for each in grouped(found) if each[0].kind == kind)
            with app.app_context():
                return Rewriting(text, drafted(app, group))
    finally:
        del sys.modules[name]


def _found(app: Flask, address: str) -> list[Finding]:
    with profiles(app) as collected:
        app.test_client().get(address)
    return list(collected[0].findings)


def _asked(text: str, address: str) -> tuple[int, str, object, int]:
    module = ModuleType("rewritten")
    exec(compile(text, "rewritten.py", "exec"), vars(module))
    with league() as app:
        app.add_url_rule("/", "view", module.view)
        with profiles(app) as collected:
            response = app.test_client().get(address)
        body = response.get_data(as_text=True) if response.status_code < 500 else ""
        with app.app_context():
            rows = [
                sorted(map(repr, db.session.execute(sa.select(table)).all()))
                for table in db.metadata.sorted_tables
            ]
    return response.status_code, body, rows, len(collected[0].queries)
