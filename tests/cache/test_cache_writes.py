"""Which writes drop what depends on them, and which leave it alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

import pytest
import sqlalchemy as sa
from cache_models import Base, Counted, Document, User, count_documents, titles
from cache_processes import running
from sqlalchemy import event
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine import Engine
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from flask_perfkit.cache.cache import Cache

documents = Document.__table__
assert isinstance(documents, sa.Table)


class Watched:
    """Entries that depend on the documents, on those of user 1, of user 2 and on the users."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._needs: dict[str, list[Any]] = {
            "documents": [Document],
            "user 1": [Document.user_id == 1],
            "user 2": [Document.user_id == 2],
            "users": [User],
        }
        self.dropped()

    def dropped(self) -> set[str]:
        """Name the entries that were dropped since the last call."""
        creators = {name: Counted(lambda: 1) for name in self._needs}
        for name, needs in self._needs.items():
            self._cache.get_or_create(name, creators[name], depends_on=needs)
        return {name for name, creator in creators.items() if creator.runs}


@pytest.fixture
def watched(request: pytest.FixtureRequest, engine: sa.Engine) -> Watched:
    """Entries in this process for SQLite, and in Redis for PostgreSQL."""
    if engine.dialect.name == "sqlite":
        return Watched(Cache.from_url())
    return Watched(Cache.from_url(request.getfixturevalue("redis_url")))


EVERY_ROW = {"documents", "user 1", "user 2"}

Write = Callable[[Session], object]

PRECISE: dict[str, tuple[Write, set[str]]] = {
    "add": (lambda s: s.add(Document(user_id=1, title="c")), {"documents", "user 1"}),
    "add through a relationship": (
        lambda s: s.add(Document(title="c", user=s.get_one(User, 1))),
        {"documents", "user 1"},
    ),
    "change": (lambda s: setattr(s.get_one(Document, 1), "title", "c"), {"documents", "user 1"}),
    "move": (lambda s: setattr(s.get_one(Document, 1), "user_id", 2), EVERY_ROW),
    "move through a relationship": (
        lambda s: setattr(s.get_one(Document, 1), "user", s.get_one(User, 2)),
        EVERY_ROW,
    ),
    "move to nobody": (
        lambda s: setattr(s.get_one(Document, 1), "user", None),
        {"documents", "user 1"},
    ),
    "delete": (lambda s: s.delete(s.get_one(Document, 1)), {"documents", "user 1"}),
    "two rows of one table in one flush": (
        lambda s: [setattr(d, "title", "c") for d in s.scalars(sa.select(Document))],
        EVERY_ROW,
    ),
    "another table": (lambda s: setattr(s.get_one(User, 1), "name", "Eve"), {"users"}),
    "ORM insert": (
        lambda s: s.execute(sa.insert(Document), [{"user_id": 1, "title": "c"}] * 2),
        {"documents", "user 1"},
    ),
    "ORM insert with values": (
        lambda s: s.execute(
            sa.insert(Document).values([{"user_id": 1, "title": "c"}, {"user_id": 1, "title": "d"}])
        ),
        {"documents", "user 1"},
    ),
    "ORM insert returning": (
        lambda s: s.scalars(
            sa.insert(Document).returning(Document), [{"user_id": 1, "title": "c"}]
        ).all(),
        {"documents", "user 1"},
    ),
    "ORM update by value": (
        lambda s: s.execute(sa.update(Document).where(Document.user_id == 1).values(title="c")),
        {"documents", "user 1"},
    ),
    "ORM delete by value": (
        lambda s: s.execute(
            sa.delete(Document).where((Document.user_id == 1) & (Document.title == "a"))
        ),
        {"documents", "user 1"},
    ),
    "ORM update that moves": (
        lambda s: s.execute(sa.update(Document).where(Document.user_id == 1).values(user_id=2)),
        EVERY_ROW,
    ),
    "Query.update": (
        lambda s: s.query(Document).filter(Document.user_id == 1).update({"title": "c"}),
        {"documents", "user 1"},
    ),
    "bulk_save_objects of new ones": (
        lambda s: s.bulk_save_objects([Document(user_id=1, title="c")]),
        {"documents", "user 1"},
    ),
    "bulk_insert_mappings": (
        lambda s: s.bulk_insert_mappings(
            sa.inspect(Document), [{"user_id": 1, "title": "c"}, {"user_id": 1, "title": "d"}]
        ),
        {"documents", "user 1"},
    ),
    "Core insert": (
        lambda s: s.execute(documents.insert().values(user_id=1, title="c")),
        {"documents", "user 1"},
    ),
    "Core executemany": (
        lambda s: s.connection().execute(
            documents.insert(), [{"user_id": 1, "title": "c"}, {"user_id": 1, "title": "d"}]
        ),
        {"documents", "user 1"},
    ),
    "merge": (
        lambda s: s.merge(Document(id=1, user_id=1, title="c")),
        {"documents", "user 1"},
    ),
}

UNKNOWN_ROWS: dict[str, tuple[Write, set[str]]] = {
    "bulk_update_mappings": (
        lambda s: s.bulk_update_mappings(sa.inspect(Document), [{"id": 1, "title": "c"}]),
        EVERY_ROW,
    ),
    "ORM update by key": (
        lambda s: s.execute(sa.update(Document), [{"id": 1, "title": "c"}]),
        EVERY_ROW,
    ),
    "ORM update of all": (lambda s: s.execute(sa.update(Document).values(title="c")), EVERY_ROW),
    "ORM update by another column": (
        lambda s: s.execute(sa.update(Document).where(Document.title == "a").values(title="c")),
        EVERY_ROW,
    ),
    "ORM update by value or another column": (
        lambda s: s.execute(
            sa.update(Document)
            .where((Document.user_id == 1) | (Document.title == "b"))
            .values(title="c")
        ),
        EVERY_ROW,
    ),
    "ORM update to an expression": (
        lambda s: s.execute(
            sa.update(Document)
            .where(Document.user_id == 1)
            .values(user_id=Document.user_id + 1)
            .execution_options(synchronize_session=False)
        ),
        EVERY_ROW,
    ),
    "unit of work to an expression": (
        lambda s: setattr(s.get_one(Document, 1), "user_id", Document.user_id + 1),
        EVERY_ROW,
    ),
    "Query.delete": (lambda s: s.query(Document).delete(), EVERY_ROW),
    "insert from select": (
        lambda s: s.execute(
            documents.insert().from_select(["user_id", "title"], sa.select(User.id, User.name))
        ),
        EVERY_ROW,
    ),
    "a table that the database cascades to": (
        lambda s: s.execute(sa.delete(User).where(User.id == 1)),
        {*EVERY_ROW, "users"},
    ),
    "a delete whose children the database deletes": (
        lambda s: s.delete(s.get_one(User, 1)),
        {*EVERY_ROW, "users"},
    ),
    "text": (
        lambda s: s.execute(sa.text("UPDATE documents SET title = 'c' WHERE user_id = 1")),
        EVERY_ROW,
    ),
    "text whose children the database deletes": (
        lambda s: s.execute(sa.text("DELETE FROM users WHERE id = 1")),
        {*EVERY_ROW, "users"},
    ),
    "a table by its name alone, whose children the database deletes": (
        lambda s: s.execute(sa.delete(sa.table("users", sa.column("id"))).where(sa.text("id = 1"))),
        {*EVERY_ROW, "users"},
    ),
    "text that inserts": (
        lambda s: s.execute(sa.text("INSERT INTO users (id, name) VALUES (3, 'Cy')")),
        {"users"},
    ),
    "driver's own text": (
        lambda s: s.connection().exec_driver_sql('DELETE FROM "documents"'),
        EVERY_ROW,
    ),
    "a write inside a CTE of text": (
        lambda s: s.execute(
            sa.text("WITH x AS (SELECT 1 AS one) INSERT INTO documents (title) SELECT 'c' FROM x")
        ),
        EVERY_ROW,
    ),
}


@pytest.mark.parametrize("name", [*PRECISE, *UNKNOWN_ROWS])
def test_a_commit_drops_what_depends_on_its_rows(
    name: str, watched: Watched, engine: sa.Engine
) -> None:
    write, expected = {**PRECISE, **UNKNOWN_ROWS}[name]
    with Session(engine) as session:
        write(session)
        session.commit()
    dropped = watched.dropped()
    if "text" in name or "name alone" in name:
        dropped &= expected  # a table of another test may have the same name, and other children
    assert dropped == expected


@pytest.mark.parametrize("name", [*PRECISE, *UNKNOWN_ROWS])
def test_a_rollback_drops_nothing(name: str, sqlite_engine: sa.Engine) -> None:
    watched = Watched(Cache.from_url())
    write, _ = {**PRECISE, **UNKNOWN_ROWS}[name]
    with Session(sqlite_engine) as session:
        write(session)
        session.flush()
        session.rollback()
    assert watched.dropped() == set()


@pytest.mark.parametrize("name", PRECISE)
def test_a_second_execution_of_the_same_statement_goes_by_its_own_values(
    name: str, sqlite_engine: sa.Engine
) -> None:
    """SQLAlchemy's statement cache keeps the parameters of the first execution."""
    watched = Watched(Cache.from_url())
    test_a_commit_drops_what_depends_on_its_rows(name, watched, sqlite_engine)
    with sqlite_engine.begin() as connection:
        connection.execute(documents.insert().values(user_id=2, title="d"))
        connection.execute(sa.update(Document).where(Document.user_id == 2).values(title="d"))
    assert watched.dropped() == {"documents", "user 2"}


def test_an_upsert_drops_every_row_since_the_one_it_met_is_not_known(
    watched: Watched, engine: sa.Engine
) -> None:
    insert = postgres_insert if engine.dialect.name == "postgresql" else sqlite_insert
    upsert = insert(documents).values(id=1, user_id=2, title="c")
    upsert = upsert.on_conflict_do_update(index_elements=["id"], set_={"title": "c"})
    with engine.begin() as connection:
        connection.execute(upsert)
    assert watched.dropped() == EVERY_ROW


def test_a_row_that_is_replaced_is_deleted_first(sqlite_engine: sa.Engine) -> None:
    """So the database deletes its children."""
    watched = Watched(Cache.from_url())
    with Session(sqlite_engine) as session:
        session.execute(sa.insert(User).prefix_with("OR REPLACE").values(id=1, name="Eve"))
        session.commit()
        assert watched.dropped() == {*EVERY_ROW, "users"}
        session.execute(sa.text("REPLACE INTO users (id, name) VALUES (1, 'Ada')"))
        session.commit()
    assert watched.dropped() >= {*EVERY_ROW, "users"}


def test_a_write_inside_a_cte_is_seen(cache: Cache, postgres_engine: sa.Engine) -> None:
    watched = Watched(cache)
    deleted = sa.delete(Document).where(Document.id == 1).returning(Document.id).cte()
    with postgres_engine.begin() as connection:
        connection.execute(sa.select(sa.func.count()).select_from(deleted))
    assert watched.dropped() == EVERY_ROW


def test_core_by_engine_is_seen(watched: Watched, engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(documents.delete().where(documents.c.user_id == 1))
    assert watched.dropped() == {"documents", "user 1"}


def test_commit_as_you_go_is_seen_at_each_commit(watched: Watched, engine: sa.Engine) -> None:
    with engine.connect() as connection:
        connection.execute(documents.insert().values(user_id=1, title="c"))
        connection.commit()
        assert watched.dropped() == {"documents", "user 1"}
        connection.execute(documents.insert().values(user_id=2, title="c"))
        connection.rollback()
        assert watched.dropped() == set()


def test_autocommit_is_seen_without_a_commit(watched: Watched, engine: sa.Engine) -> None:
    autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
    with autocommit.connect() as connection:
        connection.execute(documents.insert().values(user_id=1, title="c"))
        assert "documents" in watched.dropped()  # pending: nothing is stored
    watched.dropped()
    assert watched.dropped() == set()
    assert count_documents(engine) == 3


def test_a_driver_in_autocommit_is_seen(cache: Cache, postgres_engine: sa.Engine) -> None:
    engine = sa.create_engine(postgres_engine.url, connect_args={"autocommit": True})
    watched = Watched(cache)
    with engine.connect() as connection:
        connection.execute(documents.insert().values(title="c"))
        assert "documents" in watched.dropped()
    engine.dispose()


def test_only_the_released_savepoint_counts(watched: Watched, engine: sa.Engine) -> None:
    with Session(engine) as session:
        with session.begin_nested() as given_up:
            session.add(User(id=3, name="Cy"))
            session.flush()
            given_up.rollback()
        with session.begin_nested():
            session.add(Document(user_id=1, title="c"))
        session.commit()
    assert watched.dropped() == {"documents", "user 1"}


def test_savepoints_inside_a_savepoint_that_is_rolled_back_go_with_it(
    watched: Watched, engine: sa.Engine
) -> None:
    with Session(engine) as session:
        with session.begin_nested() as outer:
            with session.begin_nested():
                session.add(Document(user_id=1, title="c"))
            outer.rollback()
        session.add(User(id=3, name="Cy"))
        session.commit()
    assert watched.dropped() == {"users"}


def test_a_session_inside_an_outer_transaction_commits_with_it(
    watched: Watched, engine: sa.Engine
) -> None:
    with engine.connect() as connection:
        outer = connection.begin()
        with Session(connection, join_transaction_mode="create_savepoint") as session:
            session.add(Document(user_id=1, title="c"))
            session.commit()
        assert watched.dropped() == EVERY_ROW  # by-passed: this context's own, not committed
        outer.rollback()
    watched.dropped()
    assert watched.dropped() == set()


def test_tables_made_and_dropped_count_as_written(cache: Cache, engine: sa.Engine) -> None:
    watched = Watched(cache)
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    assert watched.dropped() == {*EVERY_ROW, "users"}


def test_a_value_that_was_null_or_becomes_null_is_one_like_others(
    cache: Cache, engine: sa.Engine
) -> None:
    def dropped() -> list[int]:
        creators = [Counted(lambda: 1) for _ in range(2)]
        for user, creator in zip((None, 1), creators, strict=True):
            cache.get_or_create(f"{user}", creator, depends_on=[Document.user_id == user])
        return [creator.runs for creator in creators]

    dropped()
    with Session(engine) as session:
        session.get_one(Document, 2).user_id = None
        session.commit()
    assert dropped() == [1, 0]
    with Session(engine) as session:
        session.get_one(Document, 2).user_id = 3 if engine.dialect.name == "sqlite" else 1
        session.commit()
    assert dropped()[0] == 1


def test_an_object_of_an_older_transaction_is_not_trusted(
    watched: Watched, engine: sa.Engine
) -> None:
    with Session(engine, expire_on_commit=False) as session:
        document = session.get_one(Document, 1)
        session.commit()
        with engine.begin() as connection:
            connection.execute(sa.update(Document).where(Document.user_id == 1).values(user_id=2))
        watched.dropped()
        document.title = "c"
        session.commit()
    assert watched.dropped() == EVERY_ROW


def test_an_object_that_was_detached_is_not_trusted(watched: Watched, engine: sa.Engine) -> None:
    with Session(engine) as session:
        document = session.get_one(Document, 1)
    with engine.begin() as connection:
        connection.execute(sa.update(Document).where(Document.user_id == 1).values(user_id=2))
    watched.dropped()
    with Session(engine) as session:
        session.add(document)
        document.title = "c"
        session.commit()
    assert watched.dropped() == EVERY_ROW


def test_a_row_that_another_transaction_moved_meanwhile_is_not_trusted(
    cache: Cache, postgres_engine: sa.Engine
) -> None:
    watched = Watched(cache)
    with Session(postgres_engine) as session:
        document = session.get_one(Document, 1)
        with postgres_engine.begin() as other:
            other.execute(sa.update(Document).where(Document.id == 1).values(user_id=2))
        document.title = "c"
        watched.dropped()
        session.commit()  # for all it knows, the row is still user 1's
    assert "user 2" in watched.dropped()
    assert titles(postgres_engine, 2) == ["c", "b"]


def rename_when_told(connection: Connection, redis_url: str, database: str) -> None:
    """Give document 1 each title that comes, through a cache that never declared a column."""
    cache = Cache.from_url(redis_url)
    engine = sa.create_engine(database)
    while title := connection.recv():
        with Session(engine) as session:
            session.get_one(Document, 1).title = title
            session.commit()
        connection.send("done")
    del cache


def test_a_process_that_never_declared_the_value_drops_it(
    redis_url: str, sqlite_engine: sa.Engine
) -> None:
    watched = Watched(Cache.from_url(redis_url))
    database = sqlite_engine.url.render_as_string()
    with running(rename_when_told, redis_url, database) as (_, pipe):
        dropped = []
        for title in ("b", "c"):
            pipe.send(title)
            assert pipe.recv() == "done"
            dropped.append(watched.dropped())
    # By the second time it has learned of the column and leaves user 2 alone.
    assert dropped == [EVERY_ROW, {"documents", "user 1"}]


def test_an_async_session_is_seen(cache: Cache, sqlite_engine: sa.Engine) -> None:
    watched = Watched(cache)

    async def write() -> None:
        url = sqlite_engine.url.set(drivername="sqlite+aiosqlite")
        engine = create_async_engine(url)
        async with AsyncSession(engine) as session:
            session.add(Document(user_id=1, title="c"))
            await session.commit()
        await engine.dispose()

    asyncio.run(write())
    assert watched.dropped() == {"documents", "user 1"}


@pytest.fixture
def before_ours() -> Iterator[list[str]]:
    """A listener that executes each statement itself, which ends the chain of listeners."""
    seen: list[str] = []

    def execute(cursor: Any, statement: str, parameters: Any, context: Any) -> bool:
        seen.append(statement)
        context.dialect.do_execute(cursor, statement, parameters, context)
        return True

    event.listen(Engine, "do_execute", execute)
    yield seen
    event.remove(Engine, "do_execute", execute)


def test_a_listener_that_executes_by_itself_does_not_hide_writes(
    before_ours: list[str], watched: Watched, engine: sa.Engine
) -> None:
    with engine.begin() as connection:
        connection.execute(documents.insert().values(user_id=1, title="c"))
    assert any(statement.startswith("INSERT") for statement in before_ours)
    assert watched.dropped() == {"documents", "user 1"}


def tell_of_connection_events(pipe: Connection, url: str) -> None:
    """Write in a process in which nobody else listens."""
    engine = sa.create_engine(url)
    Cache.from_url()
    with engine.begin() as connection:
        connection.execute(documents.insert().values(user_id=1, title="c"))
        has_events = bool(connection._has_events)
    pipe.send((has_events, bool(engine._has_events)))


def test_no_listener_stands_on_the_connections_events(sqlite_engine: sa.Engine) -> None:
    url = sqlite_engine.url.render_as_string()
    with running(tell_of_connection_events, url) as (_, pipe):
        assert pipe.recv() == (False, False)
    assert count_documents(sqlite_engine) == 3


def test_thousands_of_rows_of_one_transaction_are_one_unknown(
    cache: Cache, sqlite_engine: sa.Engine
) -> None:
    watched = Watched(cache)
    with sqlite_engine.begin() as connection:
        connection.execute(
            documents.insert(), [{"user_id": user, "title": "c"} for user in range(10, 2000)]
        )
    assert watched.dropped() == EVERY_ROW
