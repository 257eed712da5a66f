"""The recorder counts every statement exactly, in bounded memory, whoever shares it."""

from __future__ import annotations

import contextvars
import gc
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from archive import User, database, db, in_threads, line_of
from sqlalchemy.orm import Session

from flask_perfkit import QueryCounter
from flask_perfkit.recording.cause import MOST_EXECUTIONS
from flask_perfkit.recording.recorder import MOST_RECORDS, Recorder, current, enter, leave


@pytest.fixture
def engine() -> Iterator[sa.Engine]:
    with database() as engine:
        yield engine


@pytest.fixture
def connection(engine: sa.Engine) -> Iterator[sa.Connection]:
    with engine.connect() as connection:
        yield connection


def ask(connection: sa.Connection, times: int) -> None:
    for number in range(times):
        connection.exec_driver_sql("SELECT name FROM user WHERE id = ?", (number,)).scalar()


@pytest.mark.alone
def test_many_statements_are_counted_exactly_in_bounded_memory(connection: sa.Connection) -> None:
    with QueryCounter() as counter:
        ask(connection, 20_000)
        assert counter.count == 20_000
        tracemalloc.start()
        ask(connection, 5_000)
        grown, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert counter.count == 25_000
    assert grown < 2_000_000, f"{grown:,} bytes of 5,000 statements more are kept"
    (finding,) = counter.findings
    assert (finding.kind, finding.count) == ("n_plus_one", 25_000)
    assert len(counter.queries) <= MOST_EXECUTIONS + MOST_RECORDS


def test_more_kinds_of_statements_than_are_kept_are_still_counted(
    connection: sa.Connection,
) -> None:
    with QueryCounter() as outer, QueryCounter() as counter:
        for number in range(2_500):
            connection.exec_driver_sql(f"SELECT 1 AS c{number}")

    assert counter.count == 2_500
    assert outer.count == 2_500
    assert counter.duration == pytest.approx(outer.duration)


def test_one_statement_with_a_failure_among_it_is_counted(connection: sa.Connection) -> None:
    with QueryCounter() as counter:
        for number in (1, 2, -(2**63), 3, 4, 5):  # SQLite: abs() of it is an integer overflow
            try:
                connection.execute(
                    sa.text("SELECT name FROM user WHERE id = abs(:number)"), {"number": number}
                )
            except sa.exc.OperationalError:
                connection.rollback()

    assert counter.count == 6
    assert [query.error for query in counter.queries] == [
        None, None, "OperationalError", None, None, None,
    ]  # fmt: skip
    (finding,) = counter.findings
    assert finding.count == 6


def test_a_failure_that_comes_first_is_counted(connection: sa.Connection) -> None:
    with QueryCounter() as counter:
        for number in (-(2**63), 1, 2, 3, 4):
            try:
                connection.execute(
                    sa.text("SELECT name FROM user WHERE id = abs(:number)"), {"number": number}
                )
            except sa.exc.OperationalError:
                connection.rollback()

    assert counter.count == len(counter.queries) == 5


def test_a_statement_with_a_faulty_text_is_recorded(connection: sa.Connection) -> None:
    with QueryCounter() as counter, pytest.raises(sa.exc.OperationalError, match="syntax error"):
        connection.execute(sa.text("SELEC 'secret'"))

    (query,) = counter.queries
    assert (query.sql, query.error, query.rows) == ("SELEC ?", "OperationalError", None)


# Blocks inside of blocks


def test_an_outer_block_has_the_statements_of_the_inner_ones_in_order(
    connection: sa.Connection,
) -> None:
    with QueryCounter() as outer:
        connection.exec_driver_sql("SELECT 1 AS a")
        with QueryCounter() as inner:
            connection.exec_driver_sql("SELECT 1 AS b")
            with QueryCounter() as innermost:
                connection.exec_driver_sql("SELECT 1 AS c")
            connection.exec_driver_sql("SELECT 1 AS d")
        connection.exec_driver_sql("SELECT 1 AS e")

    def letters(counter: QueryCounter) -> str:
        return "".join(query.sql[-1] for query in counter.queries)

    assert (letters(outer), letters(inner), letters(innermost)) == ("abcde", "bcd", "c")
    assert [counter.count for counter in (outer, inner, innermost)] == [5, 3, 1]
    moments = [query.started for query in outer.queries]
    assert moments == sorted(moments)
    assert moments[0] >= 0


def test_a_block_that_fails_counts_for_the_outer_one(connection: sa.Connection) -> None:
    def fail() -> None:
        with QueryCounter():
            ask(connection, 3)
            raise KeyError

    with QueryCounter() as outer:
        with pytest.raises(KeyError):
            fail()
        ask(connection, 1)

    assert outer.count == 4
    assert current() is None


def test_one_cause_of_several_blocks_is_one_finding(connection: sa.Connection) -> None:
    with QueryCounter() as outer:
        for number in range(6):
            with QueryCounter() as inner:
                connection.exec_driver_sql("SELECT name FROM user WHERE id = ?", (number,))
            assert inner.findings == ()

    (finding,) = outer.findings
    assert finding.count == 6
    assert finding.function == "test_one_cause_of_several_blocks_is_one_finding"


# Threads


def test_threads_share_a_recorder(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'shared.db'}")
    db.metadata.create_all(engine)

    def work() -> None:
        with engine.connect() as connection:
            ask(connection, 2_000)

    with QueryCounter() as counter:
        in_threads(*[work] * 4)
    engine.dispose()

    assert counter.count == 8_000
    counts = {finding.kind: finding.count for finding in counter.findings}
    assert counts["n_plus_one"] == 8_000  # a busy machine makes statements slow as well


def test_a_thread_without_the_context_is_not_counted(engine: sa.Engine, tmp_path: Path) -> None:
    import threading

    other = sa.create_engine(f"sqlite:///{tmp_path / 'other.db'}")
    db.metadata.create_all(other)

    def work() -> None:
        with other.connect() as connection:
            ask(connection, 5)

    with QueryCounter() as counter:
        thread = threading.Thread(target=contextvars.Context().run, args=(work,))
        thread.start()
        thread.join()
    other.dispose()

    assert counter.count == 0


def test_what_comes_after_the_end_is_dropped(connection: sa.Connection) -> None:
    with QueryCounter() as counter:
        ask(connection, 3)
        late = contextvars.copy_context()

    for _ in range(3):
        late.run(ask, connection, MOST_RECORDS)
        assert (counter.count, len(counter.queries)) == (3, 3)

    recorder = late[next(var for var in late if var.name == "flask_perfkit_recorder")]
    assert len(recorder) <= MOST_RECORDS


def test_a_closed_recorder_gives_its_causes_once(connection: sa.Connection) -> None:
    outer = Recorder()
    token = enter(outer)
    inner = Recorder()
    leave(token)
    token = enter(inner)
    ask(connection, 4)
    leave(token)

    inner.parent = outer
    for _ in range(3):
        inner.close()
    assert (inner.total, outer.total) == (4, 4)


def test_an_inner_recorder_that_ends_later_is_not_absorbed(connection: sa.Connection) -> None:
    outer = Recorder()
    inner = Recorder()
    inner.parent = outer
    outer.close()
    token = enter(inner)
    ask(connection, 2)
    leave(token)
    inner.close()
    assert (inner.total, outer.total) == (2, 0)


# Flushes


def test_one_flush_is_one_act_however_many_statements_it_sends(engine: sa.Engine) -> None:
    with QueryCounter() as counter, Session(engine) as session:
        session.add_all(User(id=100 + number, name=str(number)) for number in range(20))
        session.flush()

    assert counter.findings == ()


def add_one_by_one(session: Session) -> None:
    for number in range(7):
        session.add(User(id=100 + number, name=str(number)))
        session.flush()


def test_flushes_in_a_loop_are_as_many_acts(engine: sa.Engine) -> None:
    with QueryCounter() as counter, Session(engine) as session:
        add_one_by_one(session)

    (finding,) = counter.findings
    assert (finding.kind, finding.subject, finding.count) == ("n_plus_one_write", "User", 7)
    assert (finding.filename, finding.lineno) == line_of(add_one_by_one, "session.flush()")


def test_a_failed_flush_does_not_spoil_the_next_ones(engine: sa.Engine) -> None:
    with QueryCounter() as counter, Session(engine) as session:
        for number in range(6):
            session.add(User(id=1, name="taken"))
            with pytest.raises(sa.exc.IntegrityError):
                session.flush()
            session.rollback()
            session.add(User(id=200 + number, name="new"))
            session.flush()
            session.commit()

    assert counter.count == 12
    assert {(finding.kind, finding.count) for finding in counter.findings} == {
        ("n_plus_one_write", 6)
    }


def test_more_flushes_than_are_kept_are_counted(engine: sa.Engine) -> None:
    with QueryCounter() as counter, Session(engine) as session:
        for number in range(MOST_RECORDS + 200):
            session.add(User(id=100 + number, name="x"))
            session.flush()

    assert counter.count == MOST_RECORDS + 200
    (finding,) = counter.findings
    assert (finding.kind, finding.count) == ("n_plus_one_write", MOST_RECORDS + 200)


@pytest.mark.alone
def test_large_parameters_are_told_apart_and_not_kept() -> None:
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE pages (id INTEGER, body TEXT, scan BLOB)")
        columns = sa.column("body", sa.Text), sa.column("scan", sa.LargeBinary)
        pages = sa.table("pages", sa.column("id", sa.Integer), *columns)
        tracemalloc.start()
        try:
            with QueryCounter() as counter:
                for number in range(40):
                    body = f"{number:02}" * 500_000
                    connection.execute(sa.select(pages.c.id).where(pages.c.body == body)).all()
                    connection.exec_driver_sql("SELECT id FROM pages WHERE body = ?", (body,)).all()
                    scan = body.encode()
                    connection.execute(sa.select(pages.c.id).where(pages.c.scan == scan)).all()
                held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert held < 10_000_000  # and not 40 times a megabyte
    assert {(each.kind, each.count) for each in counter.findings} == {("n_plus_one", 40)}
    assert len(counter.findings) == 3


@pytest.mark.alone
def test_long_statements_do_not_wait_together(connection: sa.Connection) -> None:
    """Nobody else keeps the text of one that failed."""
    tracemalloc.start()
    try:
        with QueryCounter() as counter:
            for number in range(40):
                with pytest.raises(sa.exc.OperationalError):
                    connection.exec_driver_sql(f"SELECT {number} FROM missing -- {'x' * 1_000_000}")
            gc.collect()  # what was raised, which refers to itself
            held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 15_000_000
    assert counter.count == 40
