"""Batches give what single loads give, with fewer statements."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from batching_models import (
    Base,
    Company,
    Dish,
    Document,
    Employee,
    Engineer,
    Lorry,
    Manager,
    Part,
    Profile,
    Room,
    Site,
    Tag,
    Use,
    User,
    Vehicle,
    Word,
    tagging,
)
from comparison import Compared
from sqlalchemy import create_engine, event, insert, inspect, select, text, update
from sqlalchemy.exc import InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import (
    Session,
    immediateload,
    joinedload,
    lazyload,
    selectinload,
    sessionmaker,
    with_loader_criteria,
    with_polymorphic,
)

from flask_perfkit.batching import auto_batch
from flask_perfkit.batching.growth import MOST_ROWS
from flask_perfkit.batching.listener import _on_execute, batch_lazy_loads

USERS = 30


@pytest.fixture(autouse=True)
def _silent(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Batching never fails behind the scenes: it would be logged."""
    yield
    assert [each.getMessage() for each in caplog.get_records("call")] == []


@pytest.fixture(autouse=True)
def _installed() -> None:
    batch_lazy_loads()


@pytest.fixture
def filled(compared: Compared) -> Compared:
    """Thirty users with 0 to 3 documents each, written in an order that is not theirs."""
    fill(compared)
    return compared


def fill(compared: Compared) -> None:
    with Session(compared.engine) as session:
        tags = [Tag(id=n, name=f"tag {n}") for n in range(1, 6)]
        users = [User(id=n, name=f"User {n % 7}", limit=n % 3) for n in range(1, USERS + 1)]
        for user in users[3:]:
            user.boss = users[user.id // 4]
        session.add_all([*tags, *users])
        session.flush()
        session.add_all(Profile(user_id=user.id) for user in users[::2])
        for n in range(60):
            document = Document(
                title=f"User {n * 5 % 7}",
                kind=("note", "letter")[n % 2],
                size=n % 5,
                user=users[n * 17 % 25] if n % 9 else None,
            )
            session.add(document)
            session.flush()
            if n % 4:
                rows = [
                    {"document_id": document.id, "tag_id": 1 + (n + k) % 5, "position": -k}
                    for k in range(n % 4)
                ]
                session.execute(insert(tagging), rows)
        session.commit()


def ids(loaded: Any) -> Any:
    """Return the keys of what a relationship holds, in its order where it has one."""
    if loaded is None:
        return None
    if isinstance(loaded, dict):
        return {key: ids(value) for key, value in loaded.items()}
    if isinstance(loaded, set | frozenset):
        return {ids(each) for each in loaded}
    if isinstance(loaded, list):
        return [ids(each) for each in loaded]
    return type(loaded).__name__, inspect(loaded).identity


def touch(relationship: str, entity: Any = User, *options: Any) -> Callable[[Session], Any]:
    """Return code that touches a relationship of all objects."""

    def walk(session: Session) -> Any:
        objects = session.scalars(select(entity).options(*options)).unique().all()
        return [ids(getattr(each, relationship)) for each in objects]

    return walk


def test_a_loop_needs_few_statements(filled: Compared) -> None:
    # One for the users, then 1, 4, 20 and the last 5 users' documents.
    assert filled(touch("documents")) == (31, 5)


@pytest.mark.parametrize(
    "relationship", ["notes", "as_set", "by_id", "profile", "largest", "team", "documents"]
)
def test_relationships_of_a_user(filled: Compared, relationship: str) -> None:
    assert filled(touch(relationship)) == (31, 5)


@pytest.mark.parametrize("relationship", ["long_ones"])
def test_more_than_equality_is_loaded_one_by_one(filled: Compared, relationship: str) -> None:
    assert filled(touch(relationship)) == (31, 31)


def test_functions_of_columns_are_answered_alike(filled: Compared) -> None:
    alone, batched = filled(touch("namesakes"))
    assert batched <= alone


@pytest.mark.parametrize("relationship", ["raising", "on_sql"])
def test_raising_relationships_raise(filled: Compared, relationship: str) -> None:
    with auto_batch(), Session(filled.engine) as session:
        for user in session.scalars(select(User)):
            with pytest.raises(InvalidRequestError):
                getattr(user, relationship)


def test_dynamic_and_write_only_are_left_alone(filled: Compared) -> None:
    def walk(session: Session) -> Any:
        users = session.scalars(select(User)).all()
        dynamic = [ids(list(user.dynamic)) for user in users]
        return dynamic, [
            ids(list(session.scalars(user.write_only.select()).all())) for user in users
        ]

    assert filled(walk) == (61, 61)


def test_immediate_load(filled: Compared) -> None:
    assert filled(touch("documents", User, immediateload(User.documents))) == (31, 5)


def test_many_to_many_both_ways(filled: Compared) -> None:
    alone, batched = filled(touch("tags", Document))
    assert (alone, batched) == (61, 5)
    assert filled(touch("documents", Tag)) == (6, 3)


def test_many_to_one_asks_for_each_target_once(filled: Compared) -> None:
    alone, batched = filled(touch("user", Document))
    assert alone == 26  # the documents, and 25 users
    assert batched <= 4


def test_to_one_of_a_tree(filled: Compared) -> None:
    # All bosses are among the users that the query brought.
    assert filled(touch("boss")) == (1, 1)

    def walk(session: Session) -> Any:
        users = session.scalars(select(User).where(User.id > 20)).all()
        return [ids(user.boss) for user in users]

    assert filled(walk) == (4, 3)  # the bosses are 6, 7 and 8


def test_a_tree_walked_down(filled: Compared) -> None:
    def walk(session: Session) -> Any:
        def down(user: User) -> Any:
            return ids(user), [down(each) for each in user.team]

        return [down(user) for user in session.scalars(select(User).where(User.boss_id.is_(None)))]

    alone, batched = filled(walk)
    assert alone == USERS + 1
    assert batched < alone / 2


def test_nested_loops(filled: Compared) -> None:
    def walk(session: Session) -> Any:
        return [
            [ids(document.tags) for document in user.documents]
            for user in session.scalars(select(User).order_by(User.name))
        ]

    alone, batched = filled(walk)
    assert alone == 31 + 53
    assert batched <= 16


def test_composite_keys(compared: Compared) -> None:
    with Session(compared.engine) as session:
        sites = [Site(country=c, number=n) for c in ("at", "ch", "de") for n in range(5)]
        rooms = [Room(site=sites[n * 4 % 15]) for n in range(40)]
        session.add_all([*sites, *rooms, Room(country="at"), Room(country="at", number=77)])
        session.commit()
    assert compared(touch("rooms", Site)) == (16, 4)
    alone, batched = compared(touch("site", Room))
    assert alone == 1 + 15 + 2  # half a key is looked for too, and so is one that no site has
    assert batched <= 6


def staff(session: Session) -> None:
    companies = [Company(id=n) for n in range(1, 13)]
    session.add_all(companies)
    session.flush()
    for n in range(36):
        company = companies[n * 5 % 12]
        kind = (Manager, Engineer, Employee)[n % 3]
        session.add(kind(id=n + 1, company=company))
        session.add((Vehicle, Lorry)[n % 2](company=company))
    session.flush()
    managers = session.scalars(select(Manager).order_by(Manager.id)).all()
    for n, employee in enumerate(session.scalars(select(Employee))):
        employee.manager_id = managers[n % 9].id
    session.commit()


@pytest.mark.parametrize("relationship", ["employees", "managers", "vehicles"])
def test_collections_of_subclasses(compared: Compared, relationship: str) -> None:
    with Session(compared.engine) as session:
        staff(session)
    alone, batched = compared(touch(relationship, Company))
    assert (alone, batched) == (13, 4)


@pytest.mark.parametrize(
    "entity",
    [Employee, Manager, Engineer, with_polymorphic(Employee, "*"), Vehicle, Lorry],
    ids=["base", "manager", "engineer", "with_polymorphic", "one table", "lorry"],
)
def test_to_one_of_subclasses(compared: Compared, entity: Any) -> None:
    with Session(compared.engine) as session:
        staff(session)
    alone, batched = compared(touch("company", entity))
    assert batched < alone


def test_relationships_between_subclasses(compared: Compared) -> None:
    with Session(compared.engine) as session:
        staff(session)
    alone, batched = compared(touch("reports", Manager))
    assert (alone, batched) == (13, 4)
    alone, batched = compared(touch("manager", Engineer))
    assert batched < alone


def test_data_classes_that_cannot_be_hashed(compared: Compared) -> None:
    with Session(compared.engine) as session:
        for n in range(1, 9):
            session.add(Dish(id=n, parts=[Part(id=n * 10 + k, dish_id=n) for k in range(n % 3)]))
        session.commit()
    assert compared(touch("parts", Dish)) == (9, 4)


@pytest.mark.parametrize(
    "words", [("a", "A", "b", "c", "d", "é"), ("0", "1", "a", "A", "b"), ("0", "1", "é", "É")]
)
def test_keys_that_only_the_database_takes_for_equal(
    compared: Compared, words: tuple[str, ...]
) -> None:
    with Session(compared.engine) as session:
        session.add_all(Word(text=each) for each in words)
        session.add_all(Use(word=each) for each in words)
        if "c" in words:
            session.add_all(Use(word=each) for each in ("B", "C", "É"))
        session.commit()
    compared(touch("uses", Word))


OPTIONS = {
    "selectin chain": selectinload(User.documents).selectinload(Document.tags),
    "joined": joinedload(User.documents),
    "joined below": lazyload(User.documents).joinedload(Document.tags),
    "selectin below": lazyload(User.documents).selectinload(Document.tags),
    "subquery below": lazyload(User.documents).subqueryload(Document.tags),
    "joined back": lazyload(User.documents).joinedload(Document.user),
    "raise below": lazyload(User.documents).raiseload(Document.tags),
    "deferred column": lazyload(User.documents).defer(Document.title),
    "criteria of the relationship": lazyload(User.documents.and_(Document.kind == "note")),
    "criteria": with_loader_criteria(Document, Document.kind == "letter"),
    "criteria by lambda": with_loader_criteria(Document, lambda cls: cls.size > 2),
}


@pytest.mark.parametrize("option", OPTIONS.values(), ids=OPTIONS.keys())
def test_loader_options(filled: Compared, option: Any) -> None:
    def walk(session: Session) -> Any:
        return [
            [
                (ids(document), sorted(inspect(document).unloaded), _tags(document))
                for document in user.documents
            ]
            for user in session.scalars(select(User).options(option)).unique()
        ]

    alone, batched = filled(walk)
    assert batched <= alone


def _tags(document: Document) -> Any:
    try:
        return ids(document.tags)
    except InvalidRequestError:
        return "raises"


def test_criteria_of_two_queries_are_not_mixed(filled: Compared) -> None:
    def walk(session: Session) -> Any:
        found = []
        for kind in ("note", "letter"):
            only = with_loader_criteria(Document, Document.kind == kind)
            users = session.scalars(select(User).where(User.name != kind).options(only)).all()
            found.append([ids(user.documents) for user in users])
            session.expunge_all()
        return found

    filled(walk)


@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("target", ["all sessions", "a factory"])
def test_criteria_that_an_event_adds_and_changes(
    filled: Compared, target: str, first: bool
) -> None:
    kind = "note"

    def add_criteria(execution: Any) -> None:
        if execution.is_select and not execution.is_column_load:
            only = with_loader_criteria(Document, Document.kind == kind)
            execution.statement = execution.statement.options(only)

    def walk() -> Any:
        nonlocal kind
        kind = "note"
        filled.statements.clear()
        with make() as session:
            users = session.scalars(select(User)).all()
            found = [ids(user.documents) for user in users[:12]]
            kind = "letter"
            return found, [ids(user.documents) for user in users], len(filled.statements)

    make = sessionmaker(filled.engine)
    listened = Session if target == "all sessions" else make
    if first:  # ours comes last only where it is installed last
        event.remove(Session, "do_orm_execute", _on_execute)
    event.listen(listened, "do_orm_execute", add_criteria)
    try:
        *expected, alone = walk()
        with auto_batch():
            *answer, batched = walk()
    finally:
        event.remove(listened, "do_orm_execute", add_criteria)
    assert answer == expected
    assert alone == 31
    assert batched <= 9 if first else batched == 31


def test_an_object_that_left_the_session_is_loaded_anew(filled: Compared) -> None:
    with auto_batch(), Session(filled.engine) as session:
        users = session.scalars(select(User).order_by(User.id)).all()
        assert [len(user.documents) for user in users[:2]] == [2, 3]
        (document, *_) = session.scalars(select(Document).where(Document.user_id == 3))
        session.expunge(document)
        assert all(each in session for each in users[2].documents)
        assert len(users[2].documents) > 0


def test_only_what_is_left_of_a_query_is_loaded_along(filled: Compared) -> None:
    def walk(session: Session) -> Any:
        users = session.scalars(select(User).order_by(User.id)).all()
        first, second, *others = users
        found = [ids(first.documents)]
        expunged, kept = others[0], others[1].id
        session.expunge(expunged)
        del users, others
        gc.collect()
        found.append(ids(second.documents))
        with pytest.raises(Exception, match="not bound to a Session"):
            _ = expunged.documents
        return found, kept

    assert filled(walk) == (3, 3)  # nobody is left to load along


def test_siblings_of_another_session_are_not_touched(filled: Compared) -> None:
    with auto_batch(), Session(filled.engine) as one, Session(filled.engine) as other:
        mine = one.scalars(select(User)).all()
        others = other.scalars(select(User)).all()
        loaded = [mine[0].documents, mine[1].documents, others[2].documents]
        assert [inspect(each).session for each in loaded[2]] == [other] * len(loaded[2])
        assert len(loaded[2]) > 0


def test_nothing_is_set_on_an_object_that_nobody_touched(filled: Compared) -> None:
    with auto_batch(), Session(filled.engine) as session:
        users = session.scalars(select(User)).all()
        for user in users[:6]:
            _ = user.documents
        filled.statements.clear()
        assert {"documents" in inspect(user).unloaded for user in users[6:]} == {True}
        assert users[8].documents
        assert filled.statements == []  # it was there already


def write_by_unit_of_work(session: Session, user: User) -> None:
    session.add(Document(title="new", kind="note", user_id=user.id))
    session.flush()


def write_by_relationship(session: Session, user: User) -> None:
    session.add(Document(title="new", kind="note", user=user))


def write_in_bulk(session: Session, user: User) -> None:
    session.execute(update(Document).values(user_id=user.id).where(Document.size == 1))


def write_by_core(session: Session, user: User) -> None:
    row = {"title": "new", "kind": "note", "size": 0, "user_id": user.id}
    session.connection().execute(insert(Document.__table__), row)


def write_by_text(session: Session, user: User) -> None:
    session.execute(text("UPDATE document SET user_id = :id WHERE size = 2"), {"id": user.id})


def write_by_old_bulk_methods(session: Session, user: User) -> None:
    session.bulk_save_objects([Document(title="new", kind="note", user_id=user.id)])


def roll_back(session: Session, user: User) -> None:
    session.rollback()


def commit(session: Session, user: User) -> None:
    session.commit()


def write_and_roll_back_to_a_savepoint(session: Session, user: User) -> None:
    with session.begin_nested() as savepoint:
        session.execute(update(Document).values(user_id=user.id))
        _ = session.get_one(User, user.id + 1).documents
        savepoint.rollback()


def expire(session: Session, user: User) -> None:
    session.expire(user)


def expire_everything(session: Session, user: User) -> None:
    session.expire_all()


def delete_one(session: Session, user: User) -> None:
    document = session.scalars(select(Document).where(Document.user_id == user.id)).first()
    if document is not None:
        session.delete(document)


def change_another_key(session: Session, user: User) -> None:
    document = session.scalars(select(Document).where(Document.user_id == 3)).first()
    if document is not None:
        document.user_id = user.id


@pytest.mark.parametrize("autoflush", [True, False])
@pytest.mark.parametrize(
    "change",
    [
        write_by_unit_of_work,
        write_by_relationship,
        write_in_bulk,
        write_by_core,
        write_by_text,
        write_by_old_bulk_methods,
        roll_back,
        commit,
        write_and_roll_back_to_a_savepoint,
        expire,
        expire_everything,
        delete_one,
        change_another_key,
    ],
)
def test_changes_between_a_batch_and_a_touch(
    change: Callable[[Session, User], None], autoflush: bool
) -> None:
    answers = []
    for batching in (nullcontext(), auto_batch()):
        engine = create_engine("sqlite://")
        Base.metadata.create_all(engine)
        fill(Compared(engine))
        with batching, Session(engine, autoflush=autoflush) as session:
            users = session.scalars(select(User).order_by(User.id)).all()
            found = [ids(user.documents) for user in users[:6]]
            change(session, users[8])
            found += [ids(user.documents) for user in users]
        engine.dispose()
        answers.append(found)
    assert answers[0] == answers[1]


def test_batches_end_where_one_brings_too_many_rows(filled: Compared) -> None:
    with Session(filled.engine) as session:
        rows = [{"title": "x", "kind": "note", "size": 0, "user_id": 4}] * (MOST_ROWS + 1)
        session.execute(insert(Document), rows)
        session.commit()

    def walk(session: Session) -> Any:
        users = session.scalars(select(User).order_by(User.id)).all()
        found = [len(user.documents) for user in users[:2]]
        kept = sum(isinstance(each, Document) for each in session.identity_map.values())
        assert kept < 20
        return found, [len(user.documents) for user in users]

    # The batch for users 2 to 5 is cut off and forgotten; all are loaded one by one then.
    assert filled(walk) == (31, 32)


def test_large_collections_make_small_batches(filled: Compared) -> None:
    with Session(filled.engine) as session:
        rows = [
            {"title": "x", "kind": "note", "size": 0, "user_id": 1 + n % 5}
            for n in range(MOST_ROWS * 5 // 2)
        ]
        session.execute(insert(Document), rows)
        session.commit()

    def walk(session: Session) -> Any:
        users = session.scalars(select(User).order_by(User.id).limit(5)).all()
        return [len(user.documents) for user in users]

    # 2,500 rows each and some: no two are loaded at once.
    assert filled(walk) == (6, 6)


def test_waste_is_bounded_when_a_loop_is_left(filled: Compared) -> None:
    """Of objects in an order that is not the query's, four are loaded ahead for each touched."""
    with Session(filled.engine) as session:
        session.add_all(User(name="more") for _ in range(970))
        session.flush()
        session.add_all(Profile(user_id=n) for n in range(2, 1001, 2))
        session.commit()
    with auto_batch(), Session(filled.engine) as session:
        users = session.scalars(select(User).order_by(User.id)).all()
        for touched in range(1, 51):
            _ = users[touched * 389 % 1000].profile
            loaded = sum(isinstance(each, Profile) for each in session.identity_map.values())
            assert loaded <= 5 * touched


def test_autocommit_is_left_alone(filled: Compared) -> None:
    engine = filled.engine.execution_options(isolation_level="AUTOCOMMIT")
    with auto_batch(), Session(engine) as session:
        filled.statements.clear()
        touch("documents")(session)
    assert len(filled.statements) == 31


def test_only_named_relationships_are_batched(filled: Compared) -> None:
    with auto_batch("User.team"):
        assert filled.run(touch("documents"))[1] == 31
        assert filled.run(touch("team"))[1] == 5
    assert filled.run(touch("team"))[1] == 31


def test_async_sessions() -> None:
    async def count() -> int:
        engine = create_async_engine("sqlite+aiosqlite://")
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        statements = []
        event.listen(
            engine.sync_engine, "before_cursor_execute", lambda *args: statements.append(args[2])
        )
        async with AsyncSession(engine, expire_on_commit=False) as session:
            dishes = [Dish(id=n, parts=[Part(id=n, dish_id=n)]) for n in range(1, 31)]
            session.add_all(dishes)
            await session.commit()
        async with AsyncSession(engine) as session:
            dishes = list(await session.scalars(select(Dish).order_by(Dish.id)))
            statements.clear()
            for dish in dishes:
                parts = await dish.awaitable_attrs.parts
                assert [part.id for part in parts] == [dish.id]
        await engine.dispose()
        return len(statements)

    assert asyncio.run(count()) == 30
    with auto_batch():
        assert asyncio.run(count()) == 4


def test_on_every_database(database_url: str) -> None:
    engine = create_engine(database_url)
    Base.metadata.create_all(engine)
    filled = Compared(engine)
    fill(filled)
    for relationship in ("documents", "notes", "profile", "largest", "team", "by_id", "as_set"):
        alone, batched = filled(touch(relationship))
        assert (alone, batched) == (31, 5)
    assert filled(touch("tags", Document)) == (61, 5)
    assert filled(touch("user", Document))[1] <= 5
    engine.dispose()


def test_an_expired_object_is_asked_for_anew(postgres_url: str) -> None:
    engine = create_engine(postgres_url)
    Base.metadata.create_all(engine)
    fill(Compared(engine))
    with auto_batch(), Session(engine) as session:
        users = session.scalars(select(User).order_by(User.id)).all()
        before = [len(user.documents) for user in users[:3]]
        with Session(engine) as other:
            other.execute(update(Document).values(user_id=users[4].id))
            other.commit()
        session.expire(users[4])
        assert len(users[4].documents) == 60
        assert sum(before) < 60
    engine.dispose()


def test_a_key_that_was_changed_meanwhile(filled: Compared) -> None:
    def walk(session: Session) -> Any:
        documents = session.scalars(select(Document).where(Document.user_id < 20)).all()
        found = [ids(document.user) for document in documents[:2]]
        documents[2].user_id = 29
        return found, [ids(document.user) for document in documents]

    alone, batched = filled(walk, autoflush=False)
    assert batched < alone


def test_targets_in_the_session_are_not_asked_for(filled: Compared) -> None:
    def walk(session: Session) -> Any:
        held = session.scalars(select(User).where(User.id <= 20)).all()
        documents = session.scalars(select(Document)).all()
        return len(held), [ids(document.user) for document in documents]

    # Five users are missing: one is loaded alone, four at once.
    assert filled(walk) == (7, 4)
    assert filled.statements[-1].count("?") == 4


def test_siblings_on_another_way_through_the_query_are_left(filled: Compared) -> None:
    with auto_batch(), Session(filled.engine) as session:
        query = select(User).where(User.id.in_([2, 3, 4])).options(joinedload(User.team))
        users = session.scalars(query.order_by(User.id)).unique().all()
        assert len(users[1].team) > 0
        _ = users[0].documents, users[1].documents
        loaded = [each for each in session.identity_map.values() if isinstance(each, Document)]
        assert {document.user_id for document in loaded} == {2, 3, 4}
