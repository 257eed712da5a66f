"""A small application for the tests: users and their documents."""

from __future__ import annotations

import contextvars
import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship
from sqlalchemy.pool import StaticPool

from flask_perfkit import PerfKit, Profile
from flask_perfkit.signals import request_profiled

db = SQLAlchemy()


class User(db.Model):  # type: ignore[name-defined, misc]
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    bio: Mapped[str] = mapped_column(default="b", deferred=True)
    motto: Mapped[str] = mapped_column(default="m", deferred=True)
    documents: Mapped[list[Document]] = relationship(back_populates="user")


class Document(db.Model):  # type: ignore[name-defined, misc]
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(sa.ForeignKey("user.id"))
    title: Mapped[str]
    user: Mapped[User] = relationship(back_populates="documents")


USERS = 10


def fill(session: Session) -> None:
    """Add ten users, each with one document."""
    numbers = range(1, USERS + 1)
    users = [{"id": n, "name": f"user {n}", "bio": "b", "motto": "m"} for n in numbers]
    documents = [{"id": n, "user_id": n, "title": f"document {n}"} for n in numbers]
    session.execute(sa.insert(User.__table__), users)
    session.execute(sa.insert(Document.__table__), documents)
    session.commit()


@contextmanager
def archive(perfkit: bool = True, **config: Any) -> Iterator[Flask]:
    """Make an application with an own filled database: in memory, which threads may not share.

    On a busy machine nothing is slow unless a test says when it is.

    :param config: ``on_finding="raise"`` is the key ``PERFKIT_ON_FINDING``; upper case stays.
    """
    app = Flask("archive", root_path=".")
    app.config.update(
        SQLALCHEMY_DATABASE_URI="sqlite://", PERFKIT_SLOW_REQUEST=60.0, PERFKIT_SLOW_QUERY=60.0
    )
    for key, value in config.items():
        app.config[key if key.isupper() else f"PERFKIT_{key.upper()}"] = value
    db.init_app(app)
    if perfkit:
        PerfKit(app)
    with app.app_context():
        db.create_all()
        fill(db.session)
        db.session.remove()
        if db.engine.url.database is not None:
            db.engine.dispose()  # a server may fork: no connection goes with it
    try:
        yield app
    finally:
        with app.app_context():
            db.engine.dispose()


@contextmanager
def database() -> Iterator[sa.Engine]:
    """Make a filled database in memory that no application owns."""
    engine = sa.create_engine("sqlite://", poolclass=StaticPool)
    db.metadata.create_all(engine)
    with Session(engine) as session:
        fill(session)
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def profiles(app: Flask) -> Iterator[list[Profile]]:
    """Collect the profiles of an application."""
    collected: list[Profile] = []

    def collect(sender: Flask, profile: Profile) -> None:
        collected.append(profile)

    with request_profiled.connected_to(collect, app):
        yield collected


def names_of_owners() -> list[str]:
    """Walk into an N+1: one select of documents, one of the user of each."""
    return [document.user.name for document in db.session.scalars(sa.select(Document))]


def line_of(function: Callable[..., Any], text: str) -> tuple[str, int]:
    """Return file and number of the one line of a function that holds a text."""
    lines, first = inspect.getsourcelines(inspect.unwrap(function))
    numbers = [first + at for at, line in enumerate(lines) if text in line]
    assert len(numbers) == 1, f"{text!r} stands on {len(numbers)} lines of {function}"
    return inspect.getfile(inspect.unwrap(function)), numbers[0]


def in_threads(*work: Callable[[], object]) -> None:
    """Run each function in a thread that was given a copy of this context."""
    threads = [
        threading.Thread(target=contextvars.copy_context().run, args=(each,)) for each in work
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
