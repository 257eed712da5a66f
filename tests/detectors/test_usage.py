"""Rows that the code only counts or adds up, told from those that it uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bookshelf import Author, Base, Book, Tag, fill, findings
from sqlalchemy import create_engine, func, select, text
from sqlalchemy.orm import InstrumentedAttribute, Session

from flask_perfkit.detectors.usage import Aggregate, aggregates_of
from flask_perfkit.hooks.attributes import watch_attributes
from flask_perfkit.recording.callsite import Span

COUNT = "select(func.count()).select_from(Book)"
PAGES = "select(func.coalesce(func.sum(Book.pages), 0))"
THICK = "the same select of {}, without its order and options"


@pytest.fixture
def session(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    monkeypatch.setattr(InstrumentedAttribute, "__get__", InstrumentedAttribute.__get__)
    watch_attributes()
    engine = create_engine(database_url)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        fill(session)
        session.expunge_all()
        yield session
    engine.dispose()


def length(session: Session) -> int:
    return len(session.scalars(select(Book)).all())


def length_of_a_query(session: Session) -> int:
    return len(session.query(Book).filter(Book.pages > 10).all())


def length_of_a_list(session: Session) -> int:
    return len(list(session.scalars(select(Book))))


def length_over_lines(session: Session) -> int:
    return len(
        session.scalars(
            select(Book),
        ).all()
    )


def sum_of_pages(session: Session) -> int:
    return sum(book.pages for book in session.scalars(select(Book)))


def largest(session: Session) -> int:
    return max([book.pages for book in session.scalars(select(Book)).all()])


def loop(session: Session) -> int:
    total = 0
    for book in session.scalars(select(Book)):
        total += book.pages
    return total


def counting_loop(session: Session) -> int:
    count = 0
    for _ in session.scalars(select(Book)):
        count += 1
    return count


def average(session: Session) -> float:
    books = session.scalars(select(Book)).all()
    return sum(book.pages for book in books) / len(books)


def sum_of_a_query(session: Session) -> int:
    return sum(book.pages for book in session.query(Book))


def distinct(session: Session) -> int:
    return len(session.scalars(select(Book.author_id).distinct()).all())


def text_rows(session: Session) -> int:
    return len(session.execute(text("SELECT title FROM books")).all())


def checked_and_summed(session: Session) -> int:
    books = session.scalars(select(Book)).all()
    if not books:
        return 0
    return sum(book.pages for book in books)


def many_lines(session: Session) -> int:
    books = (
        session.query(Book)
        .filter(Book.pages > 10)
        .all()
    )  # fmt: skip
    return max(book.pages for book in books)


@pytest.mark.parametrize(
    ("ask", "fix", "result"),
    [
        (length, COUNT, 60),
        (length_of_a_query, THICK.format("func.count()"), 60),
        (length_of_a_list, COUNT, 60),
        (length_over_lines, COUNT, 60),
        (counting_loop, COUNT, 60),
        (sum_of_pages, PAGES, 6000),
        (loop, PAGES, 6000),
        (average, PAGES, 100),
        (largest, "select(func.max(Book.pages))", 100),
        (sum_of_a_query, PAGES, 6000),
        (checked_and_summed, PAGES, 6000),
        (many_lines, THICK.format("func.max(Book.pages)"), 100),
        (distinct, "select(func.count()).select_from(statement.subquery())", 10),
        (text_rows, "SELECT count(*) FROM the same statement as a subquery", 60),
    ],
)
def test_rows_for_one_number(
    session: Session, ask: Callable[[Session], float], fix: str, result: float
) -> None:
    (finding,) = findings(ask, session, "python_aggregation")
    assert (finding.subject, finding.severity, finding.fix) == ("Book", "warning", fix)
    assert finding.function == ask.__name__
    assert "rows of Book fetched only to be " in finding.message
    assert ask(session) == result


def titles(session: Session) -> list[str]:
    return [book.title for book in session.scalars(select(Book)).all()]


def count_and_titles(session: Session) -> tuple[int, list[str]]:
    books = session.scalars(select(Book)).all()
    return len(books), [book.title for book in books]


def first_of_many(session: Session) -> str | None:
    books = session.scalars(select(Book)).all()
    return books[0].title if len(books) > 3 else None


def handed_on(session: Session) -> int:
    books = session.scalars(select(Book)).all()
    print_all(books)
    return len(books)


def print_all(books: object) -> None:
    pass


def given_back(session: Session) -> object:
    books = session.scalars(select(Book)).all()
    assert len(books) == 60
    return books


def loop_with_more(session: Session) -> int:
    total = 0
    for book in session.scalars(select(Book)):
        book.title = book.title.strip()
        total += book.pages
    return total


def sum_of_a_method(session: Session) -> int:
    books = session.scalars(select(Book)).all()
    return sum(len(book.title) for book in books)


def few(session: Session) -> int:
    return len(session.scalars(select(Book).where(Book.author_id == 1)).all())


def limited(session: Session) -> int:
    return len(session.scalars(select(Book).limit(50)).all())


def other_loop(session: Session) -> int:
    authors = [author.name for author in session.scalars(select(Author))]
    return len("".join(authors))


def changed_in_place(session: Session) -> None:
    for book in session.scalars(select(Book)):
        book.pages += 1


def text_built_up(session: Session) -> str:
    text = ""
    for book in session.scalars(select(Book)):
        text += book.title
    return text


def list_built_up(session: Session) -> list[int]:
    found = []
    for book in session.scalars(select(Book)):
        found += [book.pages]
    return found


def label_of_that_name(session: Session) -> int:
    return sum(
        row.pages for row in session.execute(select((Book.pages + 1).label("pages"), Book.id))
    )


def text_of_that_name(session: Session) -> int:
    rows = session.execute(text("SELECT pages + 1 AS pages FROM books")).all()
    return sum(row.pages for row in rows)


def sum_of_groups(session: Session) -> int:
    pages = func.max(Book.pages).label("pages")
    return sum(row.pages for row in session.execute(select(pages).group_by(Book.author_id)))


def locked(session: Session) -> int:
    return len(session.scalars(select(Book).with_for_update()).all())


def all_names(session: Session) -> str:
    books = session.scalars(select(Book)).all()
    return f"{len(books)}" + "{books[0].title}".format(**locals())


def sum_of_an_expression(session: Session) -> int:
    return sum(book.pages * 2 for book in session.scalars(select(Book)))


def sum_of_lengths(session: Session) -> int:
    return sum(len(author.books) for author in session.scalars(select(Author).limit(1000)))


def conditional_sum(session: Session) -> int:
    return sum(1 for book in session.scalars(select(Book)) if book.pages > 10)


def conditional_value(session: Session) -> int:
    return sum(book.pages if book.author_id else 0 for book in session.scalars(select(Book)))


def longest_title(session: Session) -> str:
    return max(book.title for book in session.scalars(select(Book)))  # a collation may differ


def length_of_another(session: Session) -> list[object]:
    books, tags = session.scalars(select(Book)).all(), len(session.scalars(select(Tag)).all())
    return [*books, tags]


def thickest_book(session: Session) -> Book:
    return max(session.scalars(select(Book)), key=lambda book: book.pages)


def last_row_is_kept(session: Session) -> tuple[int, str]:
    total = 0
    for book in session.scalars(select(Book)):
        total += book.pages
    return total, book.title


def distinct_objects(session: Session) -> int:
    joined = select(Book).join(Book.tags)
    return len(session.scalars(joined).unique().all())


def query_gives_each_once(session: Session) -> int:
    return len(session.query(Book).join(Book.tags).all())


def seen_by_a_closure(session: Session) -> tuple[int, object]:
    books = session.scalars(select(Book)).all()
    return len(books), lambda: books


def own_method(session: Session) -> int:
    return len(Catalogue(session).all())


class Catalogue:
    def __init__(self, session: Session) -> None:
        self.session = session

    def all(self) -> list[str]:
        return [book.title for book in self.session.scalars(select(Book))]


@pytest.mark.parametrize(
    "ask",
    [
        changed_in_place,
        text_built_up,
        list_built_up,
        label_of_that_name,
        text_of_that_name,
        sum_of_groups,
        locked,
        all_names,
        sum_of_an_expression,
        sum_of_lengths,
        conditional_sum,
        conditional_value,
        longest_title,
        length_of_another,
        thickest_book,
        last_row_is_kept,
        distinct_objects,
        query_gives_each_once,
        seen_by_a_closure,
        own_method,
        titles,
        count_and_titles,
        first_of_many,
        handed_on,
        given_back,
        loop_with_more,
        sum_of_a_method,
        few,
        limited,
        other_loop,
    ],
)
def test_rows_that_are_used(session: Session, ask: Callable[[Session], object]) -> None:
    assert findings(ask, session, "python_aggregation") == []


def test_objects_that_answer_others_are_none_watched_or_not(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loaded_ahead(session: Session) -> str:
        authors = session.scalars(select(Author)).all()
        names = {book.author.name for book in session.scalars(select(Book))}
        return f"{len(authors)} authors, {len(names)} with books"

    assert findings(loaded_ahead, session, "python_aggregation") == []
    monkeypatch.undo()
    assert findings(loaded_ahead, session, "python_aggregation") == []
    assert len(findings(length, session, "python_aggregation")) == 1  # nobody holds its objects


def test_a_name_in_another_function_is_no_use(tmp_path: Path) -> None:
    file = tmp_path / "views.py"
    file.write_text(
        "def count(session):\n"
        "    rows = session.scalars(query).all()\n"
        "    return len(rows)\n"
        "def show(session):\n"
        "    rows = session.scalars(query).all()\n"
        "    return rows\n"
    )
    columns = 11, 33  # session.scalars(query)
    assert aggregates_of(str(file), Span(2, 2, *columns)) == (Aggregate("count"),)
    assert aggregates_of(str(file), Span(5, 5, *columns)) == ()


@pytest.mark.parametrize("source", ["def broken(:", "\x00", ""])
def test_a_source_that_cannot_be_read_says_nothing(tmp_path: Path, source: str) -> None:
    file = tmp_path / "views.py"
    file.write_text(source)
    assert aggregates_of(str(file), Span(1, 1, 0, 3)) == ()
    assert aggregates_of(str(tmp_path / "gone.py"), Span(1, 1, 0, 3)) == ()


def test_a_function_of_the_same_name_is_another(tmp_path: Path) -> None:
    file = tmp_path / "views.py"
    line = "    return sum(row.size for row in session.scalars(query))\n"
    place = Span(2, 2, 35, 57)
    file.write_text(f"def show(session):\n{line}")
    assert aggregates_of(str(file), place) == (Aggregate("sum", "size"),)
    other = tmp_path / "others.py"
    other.write_text(f"def show(session, sum):\n{line}")
    assert aggregates_of(str(other), place) == ()
