from __future__ import annotations

import asyncio
import contextvars
import logging
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from archive import (
    Document,
    User,
    archive,
    database,
    db,
    fill,
    in_threads,
    line_of,
    names_of_owners,
)
from sqlalchemy.orm import Session

from flask_perfkit import QueryCounter
from flask_perfkit.recording.recorder import current


@pytest.fixture
def session() -> Iterator[Session]:
    with database() as engine, Session(engine) as session:
        yield session


@pytest.fixture(autouse=True)
def nothing_leaks() -> Iterator[None]:
    yield
    assert current() is None


def owners(session: Session) -> list[str]:
    return [document.user.name for document in session.scalars(sa.select(Document))]


def one(session: Session) -> None:
    session.scalar(sa.select(User.name).where(User.id == 1))


def three_names(session: Session) -> None:
    session.execute(sa.select(User.name).where(User.id < 4)).all()


# Counting


def test_statements_are_counted_and_timed(session: Session) -> None:
    with QueryCounter() as counter:
        assert counter.count == 0
        one(session)
        assert counter.count == 1
        one(session)
    one(session)

    assert counter.count == len(counter.queries) == 2
    assert counter.duration == pytest.approx(sum(query.duration for query in counter.queries))
    assert counter.duration > 0


def test_a_query_tells_what_was_seen(session: Session) -> None:
    with QueryCounter() as counter:
        three_names(session)

    (query,) = counter.queries
    assert query.sql == "SELECT user.name FROM user WHERE user.id < ?"
    assert (query.subject, query.rows, query.error) == ("User", 3, None)
    assert (query.filename, query.lineno) == line_of(three_names, "session.execute")
    assert query.started >= 0
    assert query.fetch_duration is not None
    assert query.fetch_duration >= 0


def test_rows_of_a_write_are_told(session: Session) -> None:
    with QueryCounter() as counter:
        session.execute(sa.update(User).values(name="x").where(User.id > 6))
    assert counter.queries[0].rows == 4


def test_statements_without_rows_and_many_at_once(session: Session) -> None:
    with QueryCounter() as counter:
        session.execute(sa.text("CREATE TABLE extra (id INTEGER)"))
        session.execute(sa.insert(Document), [{"user_id": 1, "title": "a"}] * 50)
        session.execute(sa.select(User).where(User.name == "nobody")).all()
    assert [query.sql.partition(" ")[0] for query in counter.queries] == [
        "CREATE",
        "INSERT",
        "SELECT",
    ]
    assert counter.queries[2].rows == 0


@pytest.mark.parametrize("fetch", ["all", "first", "scalar", "fetchone", "fetchmany", "iterate"])
def test_results_are_those_that_are_there_without_us(session: Session, fetch: str) -> None:
    def rows() -> Any:
        result = session.execute(sa.select(User.id).order_by(User.id))
        if fetch == "iterate":
            return [row.id for row in result]
        if fetch == "fetchmany":
            return [result.fetchmany(3), result.fetchmany(100), result.fetchmany(1)]
        got = getattr(result, fetch)()
        result.close()
        return got

    bare = rows()
    with QueryCounter():
        assert rows() == bare


@pytest.mark.parametrize("options", [{"yield_per": 3}, {"stream_results": True}], ids=repr)
def test_results_in_pieces_are_complete(session: Session, options: dict[str, Any]) -> None:
    with QueryCounter() as counter:
        found = session.scalars(sa.select(User.id), execution_options=options)
        assert sorted(found) == list(range(1, 11))
    assert counter.count == 1


def test_identity_map_hits_are_no_statements(session: Session) -> None:
    user = session.get(User, 1)
    with QueryCounter() as counter:
        for _ in range(10):
            assert session.get(User, 1) is user
    assert counter.count == 0


def test_transactions_are_no_statements(session: Session) -> None:
    with QueryCounter() as counter:
        session.begin_nested().rollback()
        session.commit()
        session.rollback()
    assert all("SAVEPOINT" in query.sql for query in counter.queries)


# What it says


def test_an_n_plus_one_is_logged_with_its_cure(
    session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    with QueryCounter(threshold=10) as counter:
        owners(session)

    (record,) = caplog.records
    assert (record.name, record.levelno) == ("flask_perfkit", logging.WARNING)
    first, second = record.getMessage().split("\n")
    assert first == "N+1 QUERY DETECTED: 11 queries (threshold: 10)"
    _, line = line_of(owners, "document.user.name")
    file = r"tests/measuring/test_counter\.py"
    assert re.fullmatch(
        rf"  n_plus_one: Document\.user loaded 10 times \([\d.]+ ms\) at {file}:"
        rf"{line} in owners, called from {file}:\d+ \(10x\); add joinedload"
        rf"\(Document\.user\) to the select at {file}:{line} "
        rf"\(instead of 10 queries\), or set PERFKIT_AUTO_BATCH \(about 3 queries\)",
        second,
    )
    (finding,) = counter.findings
    assert second.strip() == finding.message


def test_more_than_the_threshold_is_logged(
    session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    for threshold in (2, 1):
        with QueryCounter(threshold=threshold):
            one(session)
            one(session)
    assert caplog.messages == ["N+1 QUERY DETECTED: 2 queries (threshold: 1)"]


def test_an_n_plus_one_below_the_threshold_is_logged(
    session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    with QueryCounter(threshold=1000):
        owners(session)
    assert caplog.messages[0].startswith("N+1 QUERY DETECTED: 11 queries (threshold: 1000)\n")


def test_without_a_threshold_only_findings_are_logged(
    session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    with QueryCounter(threshold=None):
        for _ in range(4):
            one(session)
    assert caplog.messages == []
    with QueryCounter(threshold=None):
        owners(session)
    assert caplog.messages[0].startswith("N+1 QUERY DETECTED: 11 queries\n")


def test_other_findings_are_logged_by_their_own_message(
    session: Session, caplog: pytest.LogCaptureFixture
) -> None:
    with QueryCounter() as counter:
        for _ in range(6):
            one(session)
    assert caplog.messages == [finding.message for finding in counter.findings]
    assert caplog.messages[0].startswith("duplicate_query: 6 executions of SELECT user.name")


def test_a_quiet_block_says_nothing(session: Session, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "flask_perfkit"), QueryCounter(threshold=10):
        one(session)
    assert caplog.messages == []


def test_findings_can_be_asked_for_inside_of_the_block(session: Session) -> None:
    with QueryCounter() as counter:
        assert counter.findings == ()
        owners(session)
        assert [finding.kind for finding in counter.findings] == ["n_plus_one"]
        assert len(counter.queries) == 11
        one(session)
    assert counter.count == 12


def test_ten_statements_are_enough_unless_it_is_said_otherwise(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with database() as engine, engine.connect() as connection:
        for most in (10, 11):
            with QueryCounter():
                for number in range(most):
                    connection.execute(sa.text(f"SELECT {'1 + ' * number} 1"))
    assert caplog.messages == ["N+1 QUERY DETECTED: 11 queries (threshold: 10)"]


def test_the_settings_of_the_current_application_count(caplog: pytest.LogCaptureFixture) -> None:
    with archive(n_plus_one_threshold=50) as app, app.app_context():
        with QueryCounter(threshold=None) as counter:
            names_of_owners()
        assert counter.findings == ()
    assert caplog.messages == []


def test_an_application_without_perfkit_has_the_defaults() -> None:
    with archive(perfkit=False) as app, app.app_context():
        with QueryCounter() as counter:
            names_of_owners()
        assert [finding.kind for finding in counter.findings] == ["n_plus_one"]


def test_an_error_in_the_block_goes_through(session: Session) -> None:
    def fail(counter: QueryCounter) -> None:
        with counter:
            one(session)
            raise ZeroDivisionError

    counter = QueryCounter(threshold=0)
    with pytest.raises(ZeroDivisionError):
        fail(counter)
    assert counter.count == 1


# Without Flask


def test_it_works_without_flask(tmp_path: Path) -> None:
    script = tmp_path / "report.py"
    script.write_text(
        textwrap.dedent(
            """
            import logging
            import sys

            import sqlalchemy as sa

            from flask_perfkit import QueryCounter

            logging.basicConfig(format="%(message)s", stream=sys.stdout)
            engine = sa.create_engine("sqlite://")
            with engine.connect() as connection, QueryCounter(threshold=2) as counter:
                connection.execute(sa.text("CREATE TABLE t (id INTEGER)"))
                for number in range(6):
                    connection.execute(sa.text("SELECT id FROM t WHERE id = :id"), {"id": number})
            engine.dispose()
            print(counter.count, [finding.lineno for finding in counter.findings])
            """
        )
    )
    run = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": ""},
    )
    warned, loop, counted = run.stdout.splitlines()
    assert warned == "N+1 QUERY DETECTED: 7 queries (threshold: 2)"
    assert "6 executions of SELECT id FROM t WHERE id = ?" in loop
    assert counted == "7 [14]"
    assert run.stderr == ""


# Threads and tasks


def test_a_thread_counts_where_it_was_given_the_context(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'a.db'}")
    db.metadata.create_all(engine)

    def work() -> None:
        with Session(engine) as session:
            one(session)

    with QueryCounter() as counter:
        in_threads(work, work, work)
        in_threads(lambda: contextvars.Context().run(work))
    engine.dispose()
    assert counter.count == 3


def test_a_block_of_a_thread_is_its_own(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'a.db'}")
    db.metadata.create_all(engine)
    counts: list[int] = []

    def work(times: int) -> None:
        with Session(engine) as session, QueryCounter() as inner:
            for _ in range(times):
                one(session)
        counts.append(inner.count)

    with QueryCounter() as counter:
        in_threads(*[lambda times=times: work(times) for times in (1, 2, 3)])  # type: ignore[misc]
    engine.dispose()
    assert sorted(counts) == [1, 2, 3]
    assert counter.count == 6


def test_tasks_of_a_gather_share_the_block_and_have_their_own(tmp_path: Path) -> None:
    from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

    counts: dict[int, int] = {}

    async def work(engine: Any, times: int) -> None:
        async with AsyncSession(engine) as session:
            with QueryCounter() as inner:
                for number in range(times):
                    await session.execute(sa.select(User.name).where(User.id == number))
                    await asyncio.sleep(0)
            counts[times] = inner.count

    async def main() -> QueryCounter:
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'a.db'}")
        async with engine.begin() as connection:
            await connection.run_sync(db.metadata.create_all)
            await connection.run_sync(lambda sync: fill(Session(sync)))
        with QueryCounter() as outer:
            await asyncio.gather(*(work(engine, times) for times in (2, 7, 4)))
        await engine.dispose()
        return outer

    outer = asyncio.run(main())
    assert counts == {2: 2, 7: 7, 4: 4}
    assert outer.count == 13
    assert [(finding.kind, finding.count) for finding in outer.findings] == [("n_plus_one", 13)]


def test_an_async_engine_is_counted(tmp_path: Path) -> None:
    from sqlalchemy.ext.asyncio import create_async_engine

    async def main() -> QueryCounter:
        engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'a.db'}")
        async with engine.connect() as connection:
            with QueryCounter() as counter:
                result = await connection.execute(sa.text("SELECT 1 UNION SELECT 2"))
                assert len(result.all()) == 2
                streamed = await connection.stream(sa.text("SELECT 3"))
                assert [row[0] async for row in streamed] == [3]
        await engine.dispose()
        return counter

    counter = asyncio.run(main())
    assert counter.count == 2
    assert counter.queries[0].rows == 2


def test_a_block_that_ends_in_another_context(session: Session) -> None:
    """As that of an asynchronous fixture, which begins and ends in tasks of their own."""
    counter = QueryCounter()

    def begin() -> None:
        counter.__enter__()
        one(session)

    contextvars.copy_context().run(begin)
    counter.__exit__(None, None, None)
    one(session)
    assert counter.count == 1


# Misuse


def test_a_counter_is_used_once(session: Session) -> None:
    counter = QueryCounter()
    with counter:
        pass
    with pytest.raises(RuntimeError, match="was used already: make a new one"), counter:
        pass
    with QueryCounter() as running:
        with pytest.raises(RuntimeError, match="was used already"):
            running.__enter__()
        one(session)
    assert running.count == 1


@pytest.mark.parametrize("name", ["count", "queries", "duration", "findings"])
def test_a_counter_that_was_not_entered_says_so(name: str) -> None:
    with pytest.raises(RuntimeError, match="inside its with block"):
        getattr(QueryCounter(), name)


@pytest.mark.parametrize("threshold", [-1, True, False, 2.5, "10", float("nan"), [1]], ids=repr)
def test_a_bad_threshold_is_refused(threshold: Any) -> None:
    with pytest.raises(ValueError, match=r"threshold is .*; allowed is a whole number") as caught:
        QueryCounter(threshold=threshold)
    assert repr(threshold) in str(caught.value)


@pytest.mark.parametrize("threshold", [0, 1, 10**9, None])
def test_a_good_threshold_is_kept(threshold: int | None) -> None:
    assert QueryCounter(threshold=threshold).threshold == threshold
