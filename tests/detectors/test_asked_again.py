"""Statements that come again: which are loops, which repeat, and which only look so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from time import sleep

import pytest
from bookshelf import Author, Base, Book, Tag, fill
from sqlalchemy import Executable, create_engine, func, literal_column, select, text, update
from sqlalchemy.orm import Session

from flask_perfkit import QueryCounter


@pytest.fixture
def session(database_url: str) -> Iterator[Session]:
    engine = create_engine(database_url)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        fill(session)
        session.expunge_all()
        yield session
    engine.dispose()


def kinds(ask: Callable[[Session], object], session: Session) -> list[str]:
    with QueryCounter() as counter:
        ask(session)
    return [finding.kind for finding in counter.findings]


# The same question, and one that only looks so


def test_one_question_to_each_of_several_databases_is_no_duplicate(tmp_path: Path) -> None:
    engines = [create_engine(f"sqlite:///{tmp_path}/{number}.db") for number in range(6)]
    for engine in engines:
        Base.metadata.create_all(engine)
    with QueryCounter() as counter:
        for engine in engines:
            with engine.connect() as connection:
                connection.execute(select(func.count()).select_from(Book)).one()
                connection.exec_driver_sql("SELECT count(*) FROM tags").one()
    assert counter.findings == ()
    with QueryCounter() as counter, engines[0].connect() as connection:
        for _ in engines:
            connection.exec_driver_sql("SELECT count(*) FROM tags").one()
    assert [finding.kind for finding in counter.findings] == ["duplicate_query"]
    for engine in engines:
        engine.dispose()


def test_one_question_for_each_schema_or_tenant_is_no_duplicate(session: Session) -> None:
    def ask(option: str, values: list[object]) -> list[str]:
        def each(session: Session) -> None:
            for value in values:
                options = {option: value}
                session.execute(select(Book.title).limit(3), execution_options=options).all()

        return kinds(each, session)

    assert ask("tenant", [f"tenant {number}" for number in range(6)]) == []
    assert ask("tenant", ["one"] * 6) == ["duplicate_query"]
    maps: list[object] = [{f"schema {number}": None} for number in range(6)]
    assert ask("schema_translate_map", maps) == []
    assert ask("schema_translate_map", [{"other": None} for _ in range(6)]) == ["duplicate_query"]


@pytest.mark.parametrize(
    "question",
    [
        select(Book.title).order_by(func.random()).limit(1),
        select(Book.title).order_by(text("random()")).limit(1),
        select(Book.title).order_by(literal_column("random()")).limit(1),
        select(Book.title).where(Book.id < 5).with_for_update(),
        text("SELECT title FROM books ORDER BY random() LIMIT 1"),
    ],
    ids=["function", "text inside", "column", "lock", "text"],
)
def test_an_answer_that_may_differ_is_no_duplicate(session: Session, question: object) -> None:
    def ask(session: Session) -> None:
        for _ in range(8):
            session.execute(question).all()  # type: ignore[call-overload]

    assert kinds(ask, session) == []


def test_an_answer_of_known_functions_is_one(session: Session) -> None:
    def ask(session: Session) -> None:
        for _ in range(8):
            session.scalar(select(func.count(func.distinct(func.lower(Book.title)))))

    assert kinds(ask, session) == ["duplicate_query"]


def test_an_unknown_function_of_no_table_is_no_loop(session: Session) -> None:
    def ask(session: Session) -> None:
        for number in range(8):
            session.scalar(select(func.random() + number))

    assert kinds(ask, session) == []


COUNT = "SELECT count(*) FROM authors a JOIN books b ON b.author_id = a.id"


def test_what_is_written_to_any_table_of_a_question_may_change_its_answer(session: Session) -> None:
    questions: list[Executable] = [
        select(func.count()).select_from(Author).join(Author.books),
        select(Author.name).where(Author.id.in_(select(Book.author_id))).limit(1),
        text(COUNT),
    ]
    changes: list[tuple[Executable, bool]] = [
        (update(Book).where(Book.id == 1).values(pages=Book.pages + 1), True),
        (text("UPDATE books SET pages = pages + 1 WHERE id = 1"), True),
        (text("DROP VIEW IF EXISTS newest"), True),
        (update(Tag).where(Tag.id == 1).values(name="new"), False),
        (text("UPDATE tags SET name = 'new' WHERE id = 1"), False),
    ]

    def ask(session: Session) -> None:
        for _ in range(6):
            session.execute(change)
            session.execute(question).all()

    for question, (change, may_differ) in product(questions, changes):
        assert ("duplicate_query" in kinds(ask, session)) is not may_differ, (question, change)


def wait(session: Session) -> None:
    left = 6
    while left and session.scalar(select(Book.title).where(Book.id == 1)) != "sold":
        session.rollback()
        left -= 1
        sleep(0)


def wait_by_asking_again(session: Session) -> None:
    book = session.get_one(Book, 1)
    for _ in range(6):
        session.refresh(book)
        sleep(0)


def wait_by_a_function(session: Session) -> None:
    for _ in range(6):
        if title_of(session) == "sold":
            break
        sleep(0)


def wait_for_what_is_newer(session: Session) -> None:
    for pages in range(101, 108):
        session.scalars(select(Book).where(Book.pages > pages)).all()
        sleep(0)


def title_of(session: Session) -> str | None:
    return session.scalar(select(Book.title).where(Book.id == 1))


def test_a_loop_that_waits_for_what_others_do_repeats_nothing(session: Session) -> None:
    for ask in (wait, wait_by_asking_again, wait_by_a_function, wait_for_what_is_newer):
        assert kinds(ask, session) == []


def test_a_loop_that_commits_and_writes_nothing_forgets_as_well(session: Session) -> None:
    with QueryCounter() as counter:
        for book in session.scalars(select(Book).limit(8)).all():
            assert book.title
            session.commit()
    (finding,) = counter.findings
    assert (finding.subject, finding.count) == ("Book.title", 7)
    assert finding.fix == "session.commit() once, after the loop"


# A few keys for each, and batches


@pytest.mark.parametrize(
    ("sizes", "found"),
    [
        ([5] * 8, True),
        ([3, 9, 4, 7, 2, 8, 5, 6], True),
        ([12, 25, 14, 30, 22, 17], True),
        ([12] * 8, False),
        ([20, 20, 20, 20, 20, 7], False),
        ([60, 75, 90, 55, 80, 61], False),
    ],
    ids=["alike and few", "few", "some", "chunks", "chunks and a rest", "many"],
)
def test_keys_of_each_parent_are_a_loop_and_chunks_are_none(
    session: Session, sizes: list[int], found: bool
) -> None:
    def ask(session: Session) -> None:
        first = 1
        for size in sizes:
            keys = range(first, first + size)
            session.execute(select(Book.title).where(Book.id.in_(keys))).all()
            first += size

    assert kinds(ask, session) == (["n_plus_one"] if found else [])


# Ranges


def windows(session: Session) -> None:
    for first in range(1, 61, 6):
        one = select(Book.id, Book.title).where(Book.id >= first, Book.id < first + 1)
        assert len(session.execute(one).all()) == 1


def poll(session: Session) -> None:
    last = 0
    following = select(Book).order_by(Book.id).limit(1)
    while book := session.scalar(following.where(Book.id > last)):
        last = book.id


def previous_of_each(session: Session) -> None:
    for pages in (90, 70, 110, 80, 120, 60, 130):
        longer = select(Book.title).where(Book.pages > pages).order_by(Book.pages).limit(1)
        session.scalar(longer)


@pytest.mark.parametrize(
    ("ask", "found"), [(windows, []), (poll, []), (previous_of_each, ["n_plus_one"])]
)
def test_ranges(session: Session, ask: Callable[[Session], None], found: list[str]) -> None:
    assert kinds(ask, session) == found


def test_a_fix_names_no_key_that_nobody_gave(session: Session) -> None:
    with QueryCounter() as counter:
        previous_of_each(session)
    (finding,) = counter.findings
    assert ".in_(" not in finding.fix
