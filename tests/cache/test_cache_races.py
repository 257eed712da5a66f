"""The moments at which a cache goes wrong: each is held still and looked at."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import redis
import sqlalchemy as sa
from cache_models import Counted, Document, User, count_documents, titles
from cache_processes import running
from sqlalchemy import event
from sqlalchemy.orm import Session

from flask_perfkit.cache.cache import Cache
from flask_perfkit.cache.writes import transactions
from flask_perfkit.cache.writes.isolation import LAG_OPTION


def rename(engine: sa.Engine, title: str, document_id: int = 1) -> None:
    with Session(engine) as session:
        session.get_one(Document, document_id).title = title
        session.commit()


@contextmanager
def held_commit(
    engine: sa.Engine, write: Callable[[], None], *, after: bool
) -> Iterator[Callable[[], None]]:
    """Run a write in a thread and hold it right before or after the driver's commit.

    Yields a function that lets it go on and waits until its commit has returned.
    """
    reached, go_on = threading.Event(), threading.Event()
    commit = engine.dialect.do_commit

    def held(connection: Any) -> None:
        if after:
            commit(connection)
        reached.set()
        assert go_on.wait(60)
        if not after:
            commit(connection)

    engine.dialect.do_commit = held  # type: ignore[method-assign]
    thread = threading.Thread(target=write)
    thread.start()
    assert reached.wait(60)

    def let_go() -> None:
        go_on.set()
        thread.join(60)

    try:
        yield let_go
    finally:
        let_go()


@pytest.fixture
def writers(sqlite_engine: sa.Engine) -> Iterator[sa.Engine]:
    """Another engine on the same database, whose commits can be held."""
    engine = sa.create_engine(sqlite_engine.url)
    yield engine
    engine.dispose()


def test_a_store_that_comes_after_a_commit_is_harmless(
    cache: Cache, sqlite_engine: sa.Engine
) -> None:
    def create() -> list[str]:
        found = titles(sqlite_engine, 1)
        if creator.runs == 1:
            in_thread(lambda: rename(sqlite_engine, "new"))
        return found

    creator = Counted(create)
    assert cache.get_or_create("key", creator, depends_on=[Document]) == ["a"]
    assert cache.get_or_create("key", creator, depends_on=[Document]) == ["new"]


def in_thread(function: Callable[[], Any]) -> None:
    thread = threading.Thread(target=function)
    thread.start()
    thread.join(60)


@pytest.mark.parametrize("depends_on", [[Document], [Document.user_id == 1], None])
@pytest.mark.parametrize("after", [False, True], ids=["before the commit", "after it"])
def test_readers_go_to_the_source_while_a_writer_is_at_its_commit(
    cache: Cache, sqlite_engine: sa.Engine, writers: sa.Engine, depends_on: Any, after: bool
) -> None:
    creator = Counted(lambda: titles(sqlite_engine, 1))

    def read() -> Any:
        return cache.get_or_create("key", creator, depends_on=depends_on)

    read()
    with held_commit(writers, lambda: rename(writers, "new"), after=after) as let_go:
        expected = ["new"] if after else ["a"]
        assert [read(), read()] == [expected, expected]
        assert creator.runs == 3
        let_go()
        assert read() == ["new"]
    runs = creator.runs
    assert read() == ["new"]
    assert creator.runs == runs


def test_the_end_of_one_writer_does_not_end_another_ones_mark(
    cache: Cache, postgres_engine: sa.Engine
) -> None:
    creator = Counted(lambda: count_documents(postgres_engine))

    def read() -> Any:
        return cache.get_or_create("key", creator, depends_on=[Document])

    def add(engine: sa.Engine) -> None:
        with Session(engine) as session:
            session.add(Document(user_id=1, title="c"))
            session.commit()

    slow = sa.create_engine(postgres_engine.url)
    with held_commit(slow, lambda: add(slow), after=True):
        in_thread(lambda: add(postgres_engine))
        runs = creator.runs
        assert [read(), read()] == [4, 4]
        assert creator.runs == runs + 2
    assert [read(), read()] == [4, 4]
    assert creator.runs == runs + 3
    slow.dispose()


def write_and_hang(connection: Connection, redis_url: str, database: str, after: bool) -> None:
    """Rename document 1 and hang right before or after the driver's commit until told to go on."""
    transactions.MARK_SECONDS = 1.0
    cache = Cache.from_url(redis_url)
    engine = sa.create_engine(database)
    commit = engine.dialect.do_commit

    def held(to: Any) -> None:
        if after:
            commit(to)
        connection.send("held")
        connection.recv()
        if not after:
            commit(to)

    engine.dialect.do_commit = held  # type: ignore[method-assign]
    rename(engine, "new")
    del cache
    connection.send("done")


@pytest.mark.parametrize("depends_on", [[Document], [Document.user_id == 1]])
@pytest.mark.parametrize("after", [False, True], ids=["before the commit", "after it"])
def test_a_writer_killed_at_its_commit_leaves_nobody_stale(
    redis_url: str, postgres_engine: sa.Engine, depends_on: Any, after: bool
) -> None:
    cache = Cache.from_url(redis_url)
    creator = Counted(lambda: titles(postgres_engine, 1))

    def read() -> Any:
        return cache.get_or_create("key", creator, depends_on=depends_on)

    read()
    database = postgres_engine.url.render_as_string(hide_password=False)
    with running(write_and_hang, redis_url, database, after) as (_, pipe):
        assert pipe.recv() == "held"
    expected = ["new"] if after else ["a"]
    assert read() == expected
    time.sleep(1.0)  # the life of its marks
    assert [read(), read()] == [expected, expected]
    runs = creator.runs
    assert read() == expected
    assert creator.runs == runs


def begin_in_driver(engine: sa.Engine) -> None:
    """Let SQLite open its snapshot with the first read, as its documentation of BEGIN says."""

    @event.listens_for(engine, "connect")
    def connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN")


@pytest.fixture
def snapshot_engine(request: pytest.FixtureRequest, engine: sa.Engine) -> Iterator[sa.Engine]:
    """An engine whose transactions see the database as it was at their first statement."""
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        snapshots = sa.create_engine(engine.url)
        begin_in_driver(snapshots)
    else:
        snapshots = sa.create_engine(engine.url, isolation_level="REPEATABLE READ")
    yield snapshots
    snapshots.dispose()


def count_in(session: Session) -> int:
    return session.scalars(sa.select(sa.func.count(Document.id))).one()


def add_document(engine: sa.Engine) -> None:
    with Session(engine) as session:
        session.add(Document(user_id=1, title="c"))
        session.commit()


@pytest.mark.parametrize("depends_on", [[Document], None], ids=["declared", "learned"])
def test_what_an_old_snapshot_shows_is_returned_and_not_stored(
    cache: Cache, engine: sa.Engine, snapshot_engine: sa.Engine, depends_on: Any
) -> None:
    with Session(snapshot_engine) as session:
        session.scalars(sa.select(User)).all()  # the snapshot is taken
        in_thread(lambda: add_document(engine))
        seen = cache.get_or_create("key", lambda: count_in(session), depends_on=depends_on)
        assert seen == 2
    assert cache.get_or_create("key", lambda: count_documents(engine)) == 3


def test_a_snapshot_younger_than_the_tokens_is_stored(
    cache: Cache, snapshot_engine: sa.Engine
) -> None:
    creator = Counted(lambda: count_documents(snapshot_engine))
    for _ in range(2):
        cache.get_or_create("key", creator)
    assert creator.runs == 1


def test_an_old_snapshot_is_stored_if_the_tokens_were_seen_before_it(
    cache: Cache, snapshot_engine: sa.Engine
) -> None:
    cache.get_or_create("other", lambda: 1, depends_on=[Document])
    with Session(snapshot_engine) as session:
        session.scalars(sa.select(User)).all()
        creator = Counted(lambda: count_in(session))
        for _ in range(2):
            cache.get_or_create("key", creator, depends_on=[Document])
        assert creator.runs == 1


def test_an_open_transaction_that_reads_what_is_committed_is_stored(
    cache: Cache, engine: sa.Engine
) -> None:
    with Session(engine) as session:
        session.execute(sa.select(sa.func.count(User.id))).all()
        creator = Counted(lambda: count_in(session))
        for _ in range(2):
            cache.get_or_create("key", creator)
        assert creator.runs == 1


def test_uncommitted_reads_are_not_stored(cache: Cache, engine: sa.Engine) -> None:
    dirty = engine.execution_options(isolation_level="READ UNCOMMITTED")
    creator = Counted(lambda: count_documents(dirty))
    for _ in range(2):
        cache.get_or_create("key", creator, depends_on=[Document])
    assert creator.runs == 2


BY_ID = sa.select(Document).order_by(Document.id)

HELD: dict[str, Callable[[Session, Document], Any]] = {
    "query": lambda session, _: session.scalars(BY_ID).all()[0].title,
    "get": lambda session, _: session.get_one(Document, 1).title,
    "relationship": lambda session, _: session.get_one(User, 1).documents[0].title,
    "closure": lambda _, document: document.title,
}


@pytest.mark.parametrize("depends_on", [[Document], None], ids=["declared", "learned"])
@pytest.mark.parametrize("way", HELD)
def test_what_a_session_held_since_before_a_commit_is_not_stored(
    cache: Cache, engine: sa.Engine, way: str, depends_on: Any
) -> None:
    with Session(engine) as session:
        document = session.get_one(Document, 1)
        in_thread(lambda: rename(engine, "new"))
        seen = cache.get_or_create(
            "key", lambda: HELD[way](session, document), depends_on=depends_on
        )
        assert seen == "a"
    assert cache.get_or_create("key", lambda: titles(engine, 1)[0]) == "new"


@pytest.mark.parametrize("way", HELD)
def test_what_a_session_holds_is_learned_without_a_statement(
    cache: Cache, engine: sa.Engine, way: str
) -> None:
    rename(engine, "old")  # so that this process knows the token since before the load
    with Session(engine) as session:
        document = session.get_one(Document, 1)
        creator = Counted(lambda: HELD[way](session, document))
        assert [cache.get_or_create("key", creator) for _ in range(2)] == ["old", "old"]
        assert creator.runs == 1
    rename(engine, "new")
    assert cache.get_or_create("key", lambda: titles(engine, 1)[0]) == "new"


def test_an_object_that_the_creator_does_not_use_is_no_dependency(
    cache: Cache, engine: sa.Engine
) -> None:
    with Session(engine) as session:
        user = session.get_one(User, 1)
        creator = Counted(lambda: count_in(session))
        cache.get_or_create("key", creator)
        user.name = "Eve"
        session.commit()
        cache.get_or_create("key", creator)
    assert creator.runs == 1


@pytest.mark.parametrize("flushed", [False, True], ids=["not flushed", "flushed"])
@pytest.mark.parametrize("depends_on", [[Document], None], ids=["declared", "learned"])
def test_a_session_with_changes_of_its_own_passes_the_cache_by(
    cache: Cache, postgres_engine: sa.Engine, flushed: bool, depends_on: Any
) -> None:
    def read(session: Session) -> Any:
        return cache.get_or_create("key", lambda: count_in(session), depends_on=depends_on)

    with Session(postgres_engine) as session:
        read(session)
        session.add(Document(user_id=1, title="c"))
        if flushed:
            session.flush()
        assert read(session) == 3
        others: list[int] = []
        with Session(postgres_engine) as other:
            in_thread(lambda: others.append(read(other)))
        assert others == [2]
        session.rollback()
        assert read(session) == 2


def test_changes_to_other_tables_do_not_matter(cache: Cache, engine: sa.Engine) -> None:
    creator = Counted(lambda: 1)
    cache.get_or_create("key", creator, depends_on=[Document])
    with Session(engine) as session:
        session.add(User(id=3, name="Cy"))
        session.flush()
        cache.get_or_create("key", creator, depends_on=[Document])
    assert creator.runs == 1


def test_what_a_creator_wrote_and_did_not_commit_is_not_stored(
    cache: Cache, engine: sa.Engine
) -> None:
    with Session(engine) as session:

        def create() -> int:
            session.add(Document(user_id=1, title="c"))
            return count_in(session)

        assert cache.get_or_create("key", create, depends_on=[Document]) == 3
        session.rollback()
    assert cache.get_or_create("key", lambda: count_documents(engine)) == 2


def test_an_inner_value_that_may_not_be_stored_keeps_the_outer_one_from_it(
    cache: Cache, engine: sa.Engine
) -> None:
    with Session(engine) as session:
        document = session.get_one(Document, 1)
        in_thread(lambda: rename(engine, "new"))
        outer = cache.get_or_create(
            "outer",
            lambda: [cache.get_or_create("inner", lambda: document.title)],
        )
        assert outer == ["a"]
    assert cache.get_or_create("outer", lambda: titles(engine, 1)) == ["new"]


def test_an_outer_value_waits_until_its_inner_ones_column_is_entered(
    redis_url: str, sqlite_engine: sa.Engine
) -> None:
    """A writer at its commit does not know of a column that nobody had entered before."""
    cache = Cache.from_url(redis_url)

    def inner() -> Any:
        needs = [Document.user_id == 1]
        return cache.get_or_create("inner", lambda: titles(sqlite_engine, 1), depends_on=needs)

    def outer() -> Any:
        return cache.get_or_create("outer", inner)

    assert outer() == ["a"]  # so that it is known what the outer one depends on
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    database = sqlite_engine.url.render_as_string()
    with running(write_and_hang, redis_url, database, False) as (_, pipe):
        assert pipe.recv() == "held"
        assert outer() == ["a"]
        pipe.send("go on")
        assert pipe.recv() == "done"
        assert outer() == ["new"]


def test_a_replica_may_lag(cache: Cache, sqlite_engine: sa.Engine, tmp_path: Path) -> None:
    """What it shows may be stored only once no commit can still be missing from it."""
    copy = tmp_path / "replica.db"

    def replicate() -> None:
        with (
            sqlite_engine.connect() as source,
            sa.create_engine(f"sqlite:///{copy}").connect() as to,
        ):
            source.connection.driver_connection.backup(to.connection.driver_connection)

    replicate()
    replica = sa.create_engine(f"sqlite:///{copy}", execution_options={LAG_OPTION: 0.2})
    rename(sqlite_engine, "new")
    creator = Counted(lambda: titles(replica, 1))

    def read() -> Any:
        return cache.get_or_create("key", creator, depends_on=[Document])

    assert [read(), read()] == [["a"], ["a"]]
    assert creator.runs == 2
    replicate()
    time.sleep(0.21)
    assert [read(), read()] == [["new"], ["new"]]
    assert creator.runs == 3
    replica.dispose()
