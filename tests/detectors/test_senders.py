"""Who sent a statement: the application, its listeners inside of a flush, or a library."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask, Response
from sqlalchemy import create_engine, event, select
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    mapped_column,
    relationship,
    selectinload,
)

from flask_perfkit import Finding, PerfKit, QueryCounter
from flask_perfkit.signals import request_profiled


class Base(DeclarativeBase):
    pass


class Owner(Base):
    __tablename__ = "owners"
    id: Mapped[int] = mapped_column(primary_key=True)
    pets: Mapped[list[Pet]] = relationship()


class Pet(Base):
    __tablename__ = "pets"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(default="")
    owner_id: Mapped[int | None] = mapped_column(sa.ForeignKey("owners.id"))


class Entry(Base):
    __tablename__ = "entries"
    id: Mapped[int] = mapped_column(primary_key=True)
    pet_id: Mapped[int]


class Step(Base):
    __tablename__ = "steps"
    id: Mapped[int] = mapped_column(primary_key=True)
    next_id: Mapped[int | None] = mapped_column(sa.ForeignKey("steps.id"))
    next: Mapped[Step | None] = relationship(remote_side="Step.id")


@pytest.fixture
def session(database_url: str) -> Iterator[Session]:
    engine = create_engine(database_url)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all(Owner(id=number) for number in range(1, 9))
        session.flush()
        session.add_all(Pet(id=number, owner_id=number) for number in range(1, 9))
        session.add_all(Step(id=number, next_id=None) for number in range(1, 31))
        session.flush()
        session.execute(sa.update(Step).values(next_id=Step.id + 1).where(Step.id < 30))
        session.commit()
        session.expunge_all()
        yield session
    engine.dispose()


def found(ask: Callable[[], object]) -> dict[tuple[str, str], Finding]:
    with QueryCounter() as counter:
        ask()
    return {(each.kind, each.subject): each for each in counter.findings}


# Inside of a flush


def write_an_entry(mapper: Any, connection: sa.Connection, pet: Pet) -> None:
    connection.execute(sa.insert(Entry).values(pet_id=pet.id))


def count_entries(session: Session, context: Any, instances: Any) -> None:
    for pet in session.dirty:
        with session.no_autoflush:
            session.scalar(select(Entry.id).where(Entry.pet_id == pet.id))


@pytest.mark.parametrize("first", [True, False], ids=["registered first", "registered last"])
def test_what_listeners_send_for_each_row_is_theirs(session: Session, first: bool) -> None:
    event.listen(Pet, "after_update", write_an_entry)
    event.listen(session, "before_flush", count_entries, insert=first)
    try:
        pets = session.scalars(select(Pet)).all()
        for pet in pets:
            pet.name = "Rex"
        findings = found(session.flush)
    finally:
        event.remove(Pet, "after_update", write_an_entry)
    write = findings["n_plus_one_write", "Entry"]
    assert (write.count, write.function) == (8, "write_an_entry")
    read = findings["n_plus_one", "Entry"]
    assert (read.count, read.function) == (8, "count_entries")
    assert ("n_plus_one_write", "Pet") not in findings


def test_the_children_of_each_deleted_parent_are_read_one_by_one(session: Session) -> None:
    owners = session.scalars(select(Owner)).all()
    for owner in owners:
        session.delete(owner)
    finding = found(session.flush)["n_plus_one", "Owner.pets"]
    assert finding.count == 8
    assert "passive_deletes" in finding.message


# A chain


def test_a_loader_that_walks_a_chain_step_by_step(session: Session) -> None:
    def ask() -> None:
        deep = selectinload(Step.next, recursion_depth=-1)
        assert session.scalars(select(Step).where(Step.id == 1).options(deep)).one() is not None

    finding = found(ask)["n_plus_one", "Step.next"]
    assert finding.count >= 28
    assert "recursive CTE" in finding.fix


def test_a_batch_for_each_of_many_selects_is_none_of_its_own(session: Session) -> None:
    def ask() -> None:
        for number in range(1, 9):
            one = select(Owner).where(Owner.id == number).options(selectinload(Owner.pets))
            assert len(session.scalars(one).one().pets) == 1

    assert set(found(ask)) == {("n_plus_one", "Owner")}


# Libraries

LIBRARY = """
def shown(objects, name):
    return [len(getattr(each, name)) for each in objects]


def answering(view, name):
    def answer():
        return str(shown(view(), name))
    return answer
"""


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    directory = tmp_path / "lib" / "site-packages"
    directory.mkdir(parents=True)
    (directory / "other_serializer.py").write_text(LIBRARY)
    monkeypatch.syspath_prepend(directory)
    import other_serializer  # type: ignore[import-not-found]

    yield other_serializer
    del sys.modules["other_serializer"]


def test_a_library_below_a_line_is_named(session: Session, library: Any) -> None:
    def ask() -> None:
        owners = session.scalars(select(Owner)).all()
        assert library.shown(owners, "pets") == [1] * 8

    finding = found(ask)["n_plus_one", "Owner.pets"]
    assert (finding.function, finding.origin and finding.origin[0]) == ("ask", __file__)
    assert "in ask, by other_serializer, called from " in finding.message


def test_what_serializes_an_answer_is_named_with_the_view(session: Session, library: Any) -> None:
    app = Flask(__name__)
    PerfKit(app)

    def owners() -> Any:
        return session.scalars(select(Owner)).all()

    answering = library.answering(owners, "pets")
    answering.__wrapped__ = owners
    app.add_url_rule("/", "owners", answering)
    profiles: list[Any] = []
    with request_profiled.connected_to(lambda _, profile: profiles.append(profile), app):
        response: Response = app.test_client().get("/")
    assert response.get_data(as_text=True) == str([1] * 8)
    (finding,) = profiles[0].findings
    assert (finding.function, finding.endpoint) == ("owners", "owners")
    assert finding.origin == (__file__, owners.__code__.co_firstlineno + 1)
    assert "in other_serializer, of what" in finding.message


# Templates


def test_a_line_that_extends_or_holds_a_block_called_nothing(
    session: Session, tmp_path: Path
) -> None:
    (tmp_path / "base.html").write_text("<html>\n{% block body %}{% endblock %}\n</html>")
    (tmp_path / "page.html").write_text(
        "{% extends 'base.html' %}\n{% block body %}\n"
        "{% for owner in owners %}{{ owner.pets | length }}{% endfor %}\n{% endblock %}"
    )
    app = Flask(__name__, template_folder=str(tmp_path))

    def ask() -> None:
        template = app.jinja_env.get_template("page.html")
        template.render(owners=session.scalars(select(Owner)).all())

    finding = found(ask)["n_plus_one", "Owner.pets"]
    assert (finding.filename, finding.lineno) == (str(tmp_path / "page.html"), 3)
    (caller,) = finding.callers
    assert caller[0] == __file__
