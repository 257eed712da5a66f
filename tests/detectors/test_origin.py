"""Where a finding says that its cure goes, asked of a real session."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import pytest
from bookshelf import Author, Base, Book, fill, findings
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session, joinedload


@pytest.fixture
def session(database_url: str) -> Iterator[Session]:
    engine = create_engine(database_url)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        fill(session)
        session.expunge_all()
        yield session
    engine.dispose()


def line_of(function: object, text: str) -> int:
    lines, start = inspect.getsourcelines(function)  # type: ignore[arg-type]
    return start + next(at for at, line in enumerate(lines) if text in line)


def the_walked_rows(session: Session) -> None:
    walked = session.scalars(select(Book).where(Book.id < 30)).all()  # these are walked
    others = session.scalars(select(Book).where(Book.id >= 30)).all()
    assert len(others) > len(walked)
    for book in walked:
        assert book.tags


def brought_along(session: Session) -> None:
    books = select(Book).options(joinedload(Book.author))
    found = session.scalars(books).all()  # these bring the authors
    session.scalars(select(Author).where(Author.id > 10_000)).all()
    for book in found:
        assert book.author.awards


def one_by_one(session: Session) -> None:
    books = session.scalars(select(Book)).all()  # the chain begins here
    for book in books:
        for tag in book.tags:
            assert tag.name
        assert book.author.awards


@pytest.mark.parametrize(
    ("ask", "subject", "text"),
    [
        (the_walked_rows, "Book.tags", "these are walked"),
        (brought_along, "Author.awards", "these bring the authors"),
        (one_by_one, "Author.awards", "the chain begins here"),
    ],
)
def test_the_origin_is_the_statement_that_brought_the_objects(
    session: Session, ask: object, subject: str, text: str
) -> None:
    found = {each.subject: each for each in findings(ask, session, "n_plus_one")}  # type: ignore[arg-type]
    assert found[subject].origin == (__file__, line_of(ask, text))
