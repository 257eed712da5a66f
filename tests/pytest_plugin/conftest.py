"""Runs pytest inside the test, on a small shop: seven users of two documents each."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points

import pytest

# What the inner runs import stays imported, or each would make modules of its own.
import flask_perfkit.extension
import flask_perfkit.pytest_plugin
import flask_perfkit.testing.assertions
import flask_perfkit.testing.budget_file  # noqa: F401

SHOP = """
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import ForeignKey
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship, selectinload
from sqlalchemy.pool import StaticPool

from flask_perfkit import PerfKit


class Base(DeclarativeBase):
    pass


db = SQLAlchemy(model_class=Base)
perfkit = PerfKit()


class User(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    documents: Mapped[list["Document"]] = relationship()


class Document(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"))


def create_app(with_perfkit=True, **config):
    app = Flask("shop")
    app.config.update(SQLALCHEMY_DATABASE_URI="sqlite://", TESTING=True)
    app.config.update(PERFKIT_SLOW_REQUEST=None, PERFKIT_SLOW_QUERY=None, **config)
    db.init_app(app)
    if with_perfkit:
        perfkit.init_app(app, db)

    @app.get("/users")
    def list_users():
        users = db.session.scalars(db.select(User)).all()
        return {user.name: len(user.documents) for user in users}  # asks

    @app.get("/cured")
    def list_at_once():
        users = db.session.scalars(db.select(User).options(selectinload(User.documents)))
        return {user.name: len(user.documents) for user in users}

    @app.get("/users/<int:id>")
    def show_user(id):
        return {"name": db.session.get_one(User, id).name}

    @app.get("/again")
    def ask_again():
        for _ in range(6):
            name = db.session.scalar(db.select(User.name).where(User.id == 1))
        return name

    @app.post("/users")
    def add_user():
        with db.session.begin_nested():
            db.session.add(User(name="new"))
        db.session.commit()
        return {}, 201

    return app


def fill():
    db.create_all()
    for number in range(7):
        documents = [Document(title="first"), Document(title="second")]
        db.session.add(User(name=f"user {number}", documents=documents))
        db.session.commit()  # one by one: what fixtures do is nobody's problem
"""

FIXTURES = """
import pytest

import shop


@pytest.fixture
def settings():
    return {}


@pytest.fixture
def app(settings):
    app = shop.create_app(**settings)
    with app.app_context():
        shop.fill()
    yield app
    with app.app_context():
        shop.db.engine.dispose()


@pytest.fixture
def client(app):
    return app.test_client()
"""


@pytest.fixture
def place() -> str:
    """The line of the shop that loads documents one by one."""
    lines = SHOP.strip().splitlines()
    return f"shop.py:{next(n for n, line in enumerate(lines, 1) if line.endswith('# asks'))}"


@pytest.fixture
def run(pytester: pytest.Pytester) -> Callable[..., pytest.RunResult]:
    """Run pytest on test files, beside the shop and its fixtures."""
    pytester.makepyfile(shop=SHOP)
    pytester.makeconftest(FIXTURES)
    is_installed = bool(entry_points(group="pytest11", name="perfkit"))
    plugin = () if is_installed else ("-p", "flask_perfkit.pytest_plugin")
    warnings = ("-W", "error", "-W", "ignore::pytest.PytestAssertRewriteWarning")

    def run(*args: str, **files: str) -> pytest.RunResult:
        if files:
            pytester.makepyfile(**files)
        unused = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest")
        return pytester.runpytest(*plugin, *warnings, *unused, *args)

    return run
