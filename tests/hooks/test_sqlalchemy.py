"""Statements on SQLite and PostgreSQL: the same results as without us, and what is seen of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from archive import Document, User, db, fill
from sqlalchemy.orm import Session, joinedload, selectinload, subqueryload

from flask_perfkit import QueryCounter


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    engine = sa.create_engine(database_url)
    db.metadata.create_all(engine)
    with Session(engine) as session:
        fill(session)
    yield engine
    engine.dispose()


def select_rows(session: Session) -> Any:
    return session.execute(sa.select(User.id, User.name).order_by(User.id)).all()


def select_one(session: Session) -> Any:
    return session.execute(sa.select(User.id).order_by(User.id)).first()


def select_scalar(session: Session) -> Any:
    return session.scalar(sa.select(sa.func.count()).select_from(User))


def select_none(session: Session) -> Any:
    return session.execute(sa.select(User.id).where(User.id == -1)).one_or_none()


def select_mappings(session: Session) -> Any:
    return [dict(row) for row in session.execute(sa.select(User.id).limit(2)).mappings()]


def select_in_parts(session: Session) -> Any:
    result = session.execute(sa.select(User.id).order_by(User.id))
    return [list(part) for part in result.scalars().partitions(4)]


def select_by_yield_per(session: Session) -> Any:
    return list(
        session.scalars(sa.select(User.id).order_by(User.id).execution_options(yield_per=3))
    )


def select_by_stream(session: Session) -> Any:
    options = {"stream_results": True, "max_row_buffer": 2}
    statement = sa.select(User.id).order_by(User.id)
    with session.execute(statement, execution_options=options) as result:
        return [result.fetchone(), result.fetchmany(2), result.fetchall()]


def select_and_close(session: Session) -> Any:
    result = session.execute(sa.select(User.id).order_by(User.id))
    row = result.fetchone()
    result.close()
    return row


def select_with_loaders(session: Session) -> Any:
    found = []
    for loader in (selectinload, joinedload, subqueryload):
        users = session.scalars(sa.select(User).options(loader(User.documents)).order_by(User.id))
        found.append([len(user.documents) for user in users.unique()])
        session.expunge_all()
    return found


def select_entities_lazily(session: Session) -> Any:
    return [document.user.name for document in session.scalars(sa.select(Document))]


def select_text(session: Session) -> Any:
    return session.execute(sa.text("SELECT id FROM document WHERE id < :id"), {"id": 4}).all()


def select_to_the_driver(session: Session) -> Any:
    return session.connection().exec_driver_sql("SELECT id FROM document ORDER BY id").all()


def select_frozen(session: Session) -> Any:
    return session.execute(sa.select(User.id)).freeze()().all()


def insert_with_returning(session: Session) -> Any:
    statement = sa.insert(User).returning(User.id)
    rows = [{"id": 100 + number, "name": "new", "bio": "", "motto": ""} for number in range(5)]
    return sorted(session.scalars(statement, rows))


def insert_many(session: Session) -> Any:
    rows = [{"id": 200 + number, "user_id": 1, "title": "new"} for number in range(50)]
    session.execute(sa.insert(Document), rows)
    return session.scalar(sa.select(sa.func.count()).select_from(Document))


def insert_by_unit_of_work(session: Session) -> Any:
    users = [User(id=300 + number, name="new") for number in range(30)]
    session.add_all(users)
    session.flush()
    return [user.id for user in users]


def insert_with_default_key(session: Session) -> Any:
    document = Document(id=999, user=User(id=998, name="new"), title="new")
    session.add(document)
    session.flush()
    return document.user_id


def update_and_delete(session: Session) -> Any:
    updated = session.execute(sa.update(User).values(name="x").where(User.id > 7)).rowcount
    deleted = session.execute(sa.delete(Document).where(Document.id < 3)).rowcount
    returned = session.execute(sa.update(User).values(name="y").returning(User.id)).all()
    return updated, deleted, len(returned)


def savepoints(session: Session) -> Any:
    nested = session.begin_nested()
    session.add(User(id=1, name="taken"))
    with pytest.raises(sa.exc.IntegrityError):
        session.flush()
    nested.rollback()
    return session.scalar(sa.select(sa.func.count()).select_from(User))


def create_and_reflect(session: Session) -> Any:
    connection = session.connection()
    connection.execute(sa.text("CREATE TABLE extra (id INTEGER PRIMARY KEY)"))
    names = sorted(sa.inspect(connection).get_table_names())
    connection.execute(sa.text("DROP TABLE extra"))
    return names


def an_error(session: Session) -> Any:
    with pytest.raises(sa.exc.DBAPIError) as caught:
        session.execute(sa.text("SELECT nothing FROM document"))
    session.rollback()
    return type(caught.value), caught.value.statement


WORKS: list[Callable[[Session], Any]] = [
    select_rows, select_one, select_scalar, select_none, select_mappings, select_in_parts,
    select_by_yield_per, select_by_stream, select_and_close, select_with_loaders,
    select_entities_lazily, select_text, select_to_the_driver, select_frozen,
    insert_with_returning, insert_many, insert_by_unit_of_work, insert_with_default_key,
    update_and_delete, savepoints, create_and_reflect, an_error,
]  # fmt: skip


def undone(engine: sa.Engine, work: Callable[[Session], Any]) -> Any:
    """Return what a work returns, and leave the database as it was."""
    with Session(engine) as session:
        result = work(session)
        session.rollback()
    return result


def test_every_result_is_the_one_that_is_there_without_us(engine: sa.Engine) -> None:
    for work in WORKS:
        bare = undone(engine, work)
        for _ in range(2):  # once to see it, once when it is known
            with QueryCounter() as counter:
                assert undone(engine, work) == bare, work.__name__
            assert counter.count > 0, work.__name__


def test_rows_are_told_where_they_are_seen(engine: sa.Engine) -> None:
    with Session(engine) as session, QueryCounter() as counter:
        session.execute(sa.select(Document.title).order_by(Document.id)).all()
        session.execute(sa.select(Document.title).where(Document.id < 0)).all()
        session.execute(sa.update(Document).values(title="x").where(Document.id > 6))
        session.execute(sa.update(Document).values(title="y").returning(Document.id)).all()
    assert [query.rows for query in counter.queries] == [10, 0, 4, 10]
    assert all(query.duration > 0 for query in counter.queries)


def test_fetching_is_timed_apart(engine: sa.Engine) -> None:
    with Session(engine) as session, QueryCounter() as counter:
        session.execute(sa.select(Document.title, Document.id)).all()
    (query,) = counter.queries
    assert query.fetch_duration is not None
    assert query.fetch_duration > 0
    assert counter.duration == query.duration


@pytest.mark.parametrize("loader", [selectinload, subqueryload])
def test_a_loaders_batch_is_no_loop(engine: sa.Engine, loader: Any) -> None:
    with Session(engine) as session, QueryCounter() as counter:
        for _ in range(6):
            users = session.scalars(sa.select(User).options(loader(User.documents)))
            assert sum(len(user.documents) for user in users) == 10
            session.expunge_all()
    assert all(finding.kind != "n_plus_one" for finding in counter.findings)


def test_shapes_are_the_same_in_every_execution(engine: sa.Engine) -> None:
    with Session(engine) as session, QueryCounter() as counter:
        for members in ([1], [1, 2], [1, 2, 3], []):
            session.execute(sa.select(Document.id).where(Document.id.in_(members))).all()
    assert len({query.sql for query in counter.queries[:3]}) == 1


def test_many_rows_at_once_are_one_statement(engine: sa.Engine) -> None:
    rows = [{"id": 500 + number, "user_id": 1, "title": f"t {number}"} for number in range(100)]
    with Session(engine) as session, QueryCounter() as counter:
        session.execute(sa.insert(Document), rows)
    (query,) = counter.queries
    assert query.sql.startswith("INSERT INTO document (")
    assert counter.findings == ()


def test_a_statement_that_times_out_is_recorded(engine: sa.Engine) -> None:
    if engine.dialect.name != "postgresql":
        statements = ["SELECT nothing_of_the_kind FROM document"]
    else:
        statements = ["SET LOCAL statement_timeout = 20", "SELECT pg_sleep(5)"]

    def ask(session: Session) -> None:
        for statement in statements:
            session.execute(sa.text(statement))

    with Session(engine) as session, QueryCounter() as counter:
        with pytest.raises(sa.exc.OperationalError):
            ask(session)
        session.rollback()
        assert session.scalar(sa.select(sa.func.count()).select_from(User)) == 10
    assert [query.error for query in counter.queries][-2:] == [
        "QueryCanceled" if engine.dialect.name == "postgresql" else "OperationalError",
        None,
    ]
