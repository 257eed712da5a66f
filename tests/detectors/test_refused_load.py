from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
from bookshelf import Author, Base, Book, fill
from sqlalchemy import create_engine, select
from sqlalchemy.exc import InvalidRequestError, MissingGreenlet, StatementError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session, aliased, defer, raiseload

from flask_perfkit import Finding, QueryCounter


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    engine = create_engine(f"sqlite:///{tmp_path}/books.db")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        fill(session)
    yield tmp_path / "books.db"
    engine.dispose()


def refused(path: Path, statement: object, attribute: str) -> Finding:
    engine = create_engine(f"sqlite:///{path}")
    with QueryCounter() as counter, Session(engine) as session:
        first = session.scalars(statement).first()  # type: ignore[call-overload]
        with pytest.raises(InvalidRequestError):
            getattr(first, attribute)
    engine.dispose()
    # Others of the same process may have reads watched, which find more.
    (finding,) = (each for each in counter.findings if each.kind == "n_plus_one")
    return finding


def test_raiseload_of_a_relationship(path: Path) -> None:
    finding = refused(path, select(Author).options(raiseload(Author.books)), "books")
    assert (finding.kind, finding.subject) == ("n_plus_one", "Author.books")
    assert (finding.fix, finding.function) == ("selectinload(Author.books)", "refused")
    assert finding.origin is not None
    assert finding.origin[0] == __file__


def test_raiseload_of_a_column(path: Path) -> None:
    finding = refused(
        path, select(Author).options(defer(Author.biography, raiseload=True)), "biography"
    )
    assert (finding.subject, finding.fix) == ("Author.biography", "undefer(Author.biography)")


def test_the_option_goes_in_the_place_of_the_one_that_refuses(path: Path) -> None:
    finding = refused(path, select(Author).options(raiseload(Author.books)), "books")
    assert finding.message.endswith(" in the place of the one that refuses it")
    assert finding.cure.apply(select(Author).options(raiseload(Author.books))) is not None


def test_an_alias_gets_words(path: Path) -> None:
    author = aliased(Author)
    finding = refused(path, select(author).options(raiseload(author.books)), "books")
    assert finding.fix.startswith("load Author.books along")
    assert finding.origin is None


# SQLAlchemy leaves the coroutine behind that it was not allowed to await.
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_nothing_awaits(path: Path) -> None:
    async def ask() -> QueryCounter:
        engine = create_async_engine(f"sqlite+aiosqlite:///{path}")
        async with AsyncSession(engine) as session:
            with QueryCounter() as counter:
                book = (await session.scalars(select(Book))).first()
                assert book is not None
                with pytest.raises((StatementError, MissingGreenlet), match="greenlet_spawn"):
                    book.tags  # noqa: B018
        await engine.dispose()
        return counter

    counter = asyncio.run(ask())
    gc.collect()
    finding = next(each for each in counter.findings if each.kind == "n_plus_one")
    assert (finding.subject, finding.fix) == ("Book.tags", "selectinload(Book.tags)")
    assert finding.origin is not None
    assert (finding.count, finding.origin[0]) == (1, __file__)


def test_what_may_be_loaded_is_none(path: Path) -> None:
    engine = create_engine(f"sqlite:///{path}")
    with QueryCounter() as counter, Session(engine) as session:
        assert session.get(Author, 1).books
    engine.dispose()
    assert counter.findings == ()
