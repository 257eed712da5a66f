"""Where a finding says that its cure goes, asked of a real session."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest
from bookshelf import Author, Base, Book, fill, findings
from jinja2 import Environment, FileSystemLoader
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session, joinedload
from sqlalchemy.pool import StaticPool


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


def books_of(session: Session, first: int) -> list[Book]:
    return list(session.scalars(select(Book).where(Book.id.between(first, first + 9))))


def two_callers(session: Session) -> None:
    others = [books_of(session, first) for first in (21, 31)]  # these need nothing
    needy = books_of(session, 1)  # these need the option
    assert all(book.tags for book in needy)
    assert others


def test_of_a_helper_the_caller_that_needs_the_option_is_told_from_the_others(
    session: Session,
) -> None:
    (finding,) = findings(two_callers, session, "n_plus_one")
    needs = line_of(two_callers, "these need the option")
    not_so = line_of(two_callers, "these need nothing")
    place = finding.message.partition("add selectinload(Book.tags) to the select at ")[2]
    assert f":{needs} (1x), and not for " in place
    assert f":{not_so} (2x)" in place


def walked(session: Session) -> None:
    books = session.scalars(select(Book)).all()
    for book in books:
        assert book.tags


def let_go(session: Session) -> None:
    books = list(session.scalars(select(Book)))
    while books:
        assert books.pop(0).tags


@pytest.mark.parametrize(("ask", "helps"), [(walked, True), (let_go, False)])
def test_auto_batching_is_advised_where_the_others_are_still_there(
    session: Session, ask: object, helps: bool
) -> None:
    (finding,) = findings(ask, session, "n_plus_one")  # type: ignore[arg-type]
    assert ("PERFKIT_AUTO_BATCH" in finding.message) is helps


def test_auto_batching_is_not_advised_where_the_engine_commits_by_itself() -> None:
    engine = create_engine("sqlite://", poolclass=StaticPool, isolation_level="AUTOCOMMIT")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        fill(session)
        session.expunge_all()
        (finding,) = findings(walked, session, "n_plus_one")
    engine.dispose()
    assert "PERFKIT_AUTO_BATCH" not in finding.message


def test_a_template_holds_no_select(session: Session, tmp_path: Path) -> None:
    """What it goes through was built elsewhere, and is sent where the template begins to."""
    shelf = tmp_path / "shelf.html"
    shelf.write_text("{% for book in books %}\n{{ book.tags }}\n{% endfor %}")
    template = Environment(loader=FileSystemLoader(tmp_path)).get_template("shelf.html")

    def ask(session: Session) -> None:
        template.render(books=session.query(Book))

    (finding,) = findings(ask, session, "n_plus_one")
    assert f"to the query that {shelf}:1 goes through" in finding.message
