"""What a creator reads unseen, and how old it is: unknown is not safe."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa
from cache_models import Counted, Document, User
from sqlalchemy import event
from sqlalchemy.orm import Session

from flask_perfkit.cache.cache import Cache


def _by_function(engine: sa.Engine) -> Any:
    with Session(engine) as session:
        return session.scalar(sa.select(sa.func.total_of_all()))


def _by_cursor(engine: sa.Engine) -> Any:
    connection = engine.raw_connection()
    cursor = connection.cursor()
    cursor.execute("SELECT count(*) FROM documents")
    (number,) = cursor.fetchone()
    connection.close()
    return number


def _beside_a_statement(engine: sa.Engine) -> Any:
    with Session(engine) as session:
        users = session.scalars(sa.select(sa.func.count(User.id))).one()
    return users + _by_cursor(engine)


def _by_cursor_of_a_connection(engine: sa.Engine) -> Any:
    with engine.connect() as connection:
        users = connection.scalar(sa.select(sa.func.count(User.id)))
        cursor = connection.connection.cursor()
        cursor.execute("SELECT count(*) FROM documents")
        return users + cursor.fetchone()[0]


def _by_threads(engine: sa.Engine) -> Any:
    def count() -> int:
        with Session(engine) as session:
            return session.scalars(sa.select(sa.func.count(Document.id))).one()

    with ThreadPoolExecutor(2) as pool:
        return sum(future.result() for future in [pool.submit(count) for _ in range(2)])


UNSEEN: dict[str, tuple[Callable[[sa.Engine], Any], str]] = {
    "function": (_by_function, "it calls the function total_of_all()"),
    "raw connection": (_by_cursor, "raw connection of its own"),
    "raw connection beside a statement": (_beside_a_statement, "raw connection of its own"),
    "cursor of a connection": (_by_cursor_of_a_connection, "the driver's cursor"),
    "threads": (_by_threads, "in other threads"),
    "nothing": (lambda engine: 1, "not seen to read anything"),
}


@pytest.fixture
def with_function(engine: sa.Engine) -> sa.Engine:
    """The engine, with a function that counts all documents."""
    if engine.dialect.name == "sqlite":

        def define(connection: Any, _record: object) -> None:
            connection.create_function("total_of_all", 0, lambda: 2)

        event.listen(engine, "connect", define)
        engine.dispose()
    else:
        with engine.begin() as connection:
            connection.exec_driver_sql(
                "CREATE OR REPLACE FUNCTION total_of_all() RETURNS bigint LANGUAGE sql AS "
                "'SELECT count(*) FROM public.documents'"
            )
    return engine


@pytest.mark.parametrize("way", UNSEEN)
def test_what_is_read_unseen_is_not_kept_and_said_once(
    cache: Cache, with_function: sa.Engine, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    read, said = UNSEEN[way]
    creator = Counted(lambda: read(with_function))
    values = [cache.get_or_create("key", creator) for _ in range(3)]
    assert (len(set(values)), creator.runs) == (1, 3)
    (message,) = [text for text in caplog.messages if "is not cached" in text]
    assert said in message
    assert "depends_on=[" in message
    declared = Counted(lambda: read(with_function))
    for _ in range(3):
        cache.get_or_create("declared", declared, depends_on=[Document])
    assert declared.runs == 1


def _by_text(engine: sa.Engine, session: Session) -> None:
    session.execute(sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))


def _by_characteristics(engine: sa.Engine, session: Session) -> None:
    session.execute(
        sa.text("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE")
    )
    session.commit()


def _by_driver(engine: sa.Engine, session: Session) -> None:
    import psycopg

    session.close()
    driver = session.connection().connection.driver_connection
    assert isinstance(driver, psycopg.Connection)
    session.rollback()
    driver.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ


LEVELS: dict[str, Callable[[sa.Engine, Session], None]] = {
    "text": _by_text,
    "characteristics": _by_characteristics,
    "driver": _by_driver,
}


@pytest.mark.parametrize("way", LEVELS)
def test_an_old_snapshot_is_not_stored_however_its_level_was_set(
    cache: Cache, postgres_engine: sa.Engine, way: str
) -> None:
    with postgres_engine.connect() as connection, Session(connection) as session:
        LEVELS[way](postgres_engine, session)
        session.scalars(sa.select(sa.func.count(User.id))).one()  # the snapshot is taken
        with Session(postgres_engine) as other:
            other.add(Document(user_id=1, title="new"))
            other.commit()

        def count() -> int:
            return session.scalars(sa.select(sa.func.count(Document.id))).one()

        assert cache.get_or_create("key", count) == 2
    with Session(postgres_engine) as fresh:
        query = sa.select(sa.func.count(Document.id))
        assert cache.get_or_create("key", lambda: fresh.scalars(query).one()) == 3


def test_a_plain_transaction_is_stored_although_it_began_earlier(
    cache: Cache, postgres_engine: sa.Engine
) -> None:
    with Session(postgres_engine) as session:
        session.scalars(sa.select(sa.func.count(User.id))).one()
        query = sa.select(sa.func.count(Document.id))
        creator = Counted(lambda: session.scalars(query).one())
        for _ in range(2):
            cache.get_or_create("key", creator)
    assert creator.runs == 1


def test_a_write_in_autocommit_ends_its_mark_at_once(cache: Cache, engine: sa.Engine) -> None:
    creator = Counted(lambda: 1)

    def runs() -> int:
        cache.get_or_create("key", creator, depends_on=[Document])
        return creator.runs

    assert [runs(), runs()] == [1, 1]
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.update(Document).values(title="new"))
        assert [runs(), runs()] == [2, 2]
        connection.execute(sa.delete(Document))
        assert [runs(), runs()] == [3, 3]
