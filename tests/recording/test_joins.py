"""What a join that multiplies its rows looks like in a real database, and what only resembles it.

Each of 10 authors has 6 books and 6 awards: 60 rows of each, and 360 pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from bookshelf import Author, Award, Base, Book, Tag, fill, findings
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    aliased,
    joinedload,
    mapped_column,
    relationship,
    selectinload,
)

from flask_perfkit import QueryCounter

WITH_BOOKS = sa.select(Author).where(Author.id <= 10)


@pytest.fixture
def session(database_url: str) -> Iterator[Session]:
    engine = sa.create_engine(database_url)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        fill(session)
        session.expunge_all()
        yield session
    engine.dispose()


def two_collections(session: Session) -> list[Author]:
    loaded = WITH_BOOKS.options(joinedload(Author.books), joinedload(Author.awards))
    return list(session.scalars(loaded).unique())


def test_two_joined_collections_multiply(session: Session) -> None:
    (finding,) = findings(two_collections, session, "cartesian_product")
    assert finding.fix in ("selectinload(Author.awards)", "selectinload(Author.books)")
    assert "360 rows fetched where 120 would do" in finding.message
    assert finding.function == "two_collections"


def test_the_fix_ends_it(session: Session) -> None:
    def fixed(session: Session) -> list[Author]:
        loaded = WITH_BOOKS.options(joinedload(Author.books), selectinload(Author.awards))
        return list(session.scalars(loaded).unique())

    assert findings(fixed, session, "cartesian_product") == []
    with QueryCounter() as counter:
        authors = fixed(session)
    assert [len(author.books) for author in authors] == [6] * 10
    assert counter.count == 2


def test_three_collections_name_one_to_load_apart(session: Session) -> None:
    def three(session: Session) -> None:
        tags = joinedload(Author.books).joinedload(Book.tags)
        session.scalars(WITH_BOOKS.options(tags, joinedload(Author.awards))).unique().all()

    (finding,) = findings(three, session, "cartesian_product")
    # 300 pairs of book and tag and 60 awards, against 6 awards for each of the 300
    assert "1,800 rows fetched where 360 would do" in finding.message
    assert finding.fix.startswith("selectinload(")


def test_parents_that_two_joins_repeat_are_found(session: Session) -> None:
    def prolific(session: Session) -> None:
        session.scalars(WITH_BOOKS.join(Author.books).join(Author.awards)).unique().all()

    (finding,) = findings(prolific, session, "cartesian_product")
    assert finding.subject == "Author"
    assert "360 rows fetched where 10 would do" in finding.message
    assert finding.fix.startswith("exists() where a join only filters")


@pytest.mark.filterwarnings("ignore:SELECT statement has a cartesian product")
def test_tables_that_nothing_joins_are_found(session: Session) -> None:
    def forgotten(session: Session) -> None:
        session.execute(sa.select(Tag, Award)).all()

    (finding,) = findings(forgotten, session, "cartesian_product")
    assert "300 rows fetched where 65 would do" in finding.message  # 5 tags, 60 awards


def test_a_collection_is_named_with_its_way(session: Session) -> None:
    def ask(session: Session) -> None:
        author = joinedload(Book.author)
        both = author.joinedload(Author.books), author.joinedload(Author.awards)
        session.scalars(sa.select(Book).options(*both)).unique().all()

    (finding,) = findings(ask, session, "cartesian_product")
    assert finding.fix in (
        "joinedload(Book.author).selectinload(Author.books)",
        "joinedload(Book.author).selectinload(Author.awards)",
    )


EDITOR = aliased(Author)
SILENT: dict[str, Any] = {
    "one collection": WITH_BOOKS.options(joinedload(Author.books)),
    "a collection by a table between": sa.select(Book).options(joinedload(Book.tags)),
    "columns of a table whose keys are not read": sa.select(Book.pages, Author.id).join(
        Book.author
    ),
    "groups": sa.select(Author.id, sa.func.count())
    .join(Author.books)
    .group_by(Author.id, Book.title),
    "a chain": WITH_BOOKS.options(joinedload(Author.books).joinedload(Book.tags)),
    "objects": sa.select(Book).options(joinedload(Book.author), joinedload(Book.editor)),
    "an object's collection": sa.select(Book)
    .where(Book.id <= 2)
    .options(joinedload(Book.author).joinedload(Author.awards)),
    "one after the other": WITH_BOOKS.options(
        selectinload(Author.books), selectinload(Author.awards)
    ),
    "no pair of many": sa.select(Author)
    .where(Author.id == 11)
    .options(joinedload(Author.books), joinedload(Author.awards)),
}


@pytest.mark.parametrize("statement", SILENT.values(), ids=SILENT)
def test_other_joins_are_none(session: Session, statement: Any) -> None:
    def ask(session: Session) -> None:
        session.scalars(statement).unique().all()

    assert findings(ask, session, "cartesian_product") == []


PAIRS: dict[str, Any] = {
    "two entities": sa.select(Author, Book).join(Book, Book.author_id == Author.id),
    "three entities in a row": sa.select(Author, Book, EDITOR)
    .join(Book, Book.author_id == Author.id)
    .join(EDITOR, Book.editor_id == EDITOR.id),
    "by a table between": sa.select(Book, Tag).select_from(Book).join(Book.tags),
    "columns": sa.select(Author.name, Book.title).join(Book, Book.author_id == Author.id),
}


@pytest.mark.parametrize("statement", PAIRS.values(), ids=PAIRS)
def test_pairs_that_the_code_asks_for_are_none(session: Session, statement: Any) -> None:
    def ask(session: Session) -> None:
        session.execute(statement).all()

    assert findings(ask, session, "cartesian_product") == []


class Place(DeclarativeBase):
    pass


def _between(name: str, one: str, other: str) -> sa.Table:
    keys = (sa.Column(f"{each}_id", sa.ForeignKey(f"{each}.id")) for each in (one, other))
    return sa.Table(name, Place.metadata, *keys)


class Group(Place):
    __tablename__ = "groups"
    id: Mapped[int] = mapped_column(primary_key=True)


class Person(Place):
    """A person has one group in their row, and more by an association table."""

    __tablename__ = "people"
    id: Mapped[int] = mapped_column(primary_key=True)
    group_id: Mapped[int] = mapped_column(sa.ForeignKey("groups.id"))
    group: Mapped[Group] = relationship(lazy="joined")
    more_groups: Mapped[list[Group]] = relationship(secondary=_between("pg", "people", "groups"))


class Room(Place):
    __tablename__ = "rooms"
    id: Mapped[int] = mapped_column(primary_key=True)
    people: Mapped[list[Person]] = relationship(
        secondary=_between("rp", "rooms", "people"), lazy="joined"
    )
    groups: Mapped[list[Group]] = relationship(
        secondary=_between("rg", "rooms", "groups"), lazy="joined"
    )


@pytest.mark.parametrize("in_subquery", [False, True])
def test_a_branch_is_named_by_its_last_collection(session: Session, in_subquery: bool) -> None:
    """What follows the collection, a group for each person, multiplies nothing."""
    Place.metadata.create_all(session.connection())
    groups = [Group(id=number) for number in range(1, 13)]
    people = [Person(id=number, group_id=1) for number in range(1, 13)]
    session.add_all([*groups, *people, Room(id=1, people=people, groups=groups)])
    session.flush()
    session.expunge_all()

    def rooms(session: Session) -> None:
        room = aliased(Room, sa.select(Room).subquery()) if in_subquery else Room
        session.scalars(sa.select(room)).unique().all()

    (finding,) = findings(rooms, session, "cartesian_product")
    assert "Room.people" in finding.fix or "Room.groups" in finding.fix
    assert finding.fix.startswith("selectinload() for") is in_subquery  # of an alias, no code
    assert "144 rows fetched where 24 would do" in finding.message
