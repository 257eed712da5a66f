"""Whatever a program does with a session, it sees the same with batches as without."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
from batching_models import Base, Document, Profile, Tag, User, tagging
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, create_engine, event, insert, inspect, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import (
    Session,
    immediateload,
    joinedload,
    lazyload,
    selectinload,
    with_loader_criteria,
)

from flask_perfkit.batching import auto_batch

RELATIONSHIPS: dict[Any, tuple[str, ...]] = {
    User: ("documents", "team", "boss", "profile", "notes", "long_ones", "largest", "by_id"),
    Document: ("user", "tags"),
    Profile: ("user",),
    Tag: ("documents",),
}
OPTIONS = {
    User: (
        (),
        (selectinload(User.documents),),
        (lazyload(User.documents).joinedload(Document.tags),),
        (lazyload(User.documents).selectinload(Document.user),),
        (with_loader_criteria(Document, Document.kind == "note"),),
        (immediateload(User.profile),),
    ),
    Document: ((), (joinedload(Document.tags),), (lazyload(Document.user).joinedload(User.team),)),
    Profile: ((),),
    Tag: ((), (selectinload(Tag.documents),)),
}

small = st.integers(0, 11)
steps = st.one_of(
    st.tuples(st.just("select"), st.sampled_from(list(OPTIONS)), small, st.booleans()),
    st.tuples(st.just("touch"), small, small),
    st.tuples(st.just("touch all"), small),
    st.tuples(st.just("touch all"), small),
    st.tuples(st.just("touch each"), small, st.permutations(range(8))),
    st.tuples(st.just("go on"), small),
    st.tuples(st.just("forget"), small),
    st.tuples(st.just("assign"), small, small),
    st.tuples(st.just("key"), small, small),
    st.tuples(st.just("add"), small),
    st.tuples(
        st.sampled_from(("flush", "commit", "rollback", "expire all", "savepoint", "back to it"))
    ),
    st.tuples(
        st.sampled_from(("expire", "refresh", "expunge", "delete", "write", "raw write")), small
    ),
)


class Program:
    """Does what its steps say, and keeps what it sees."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.objects: list[Any] = []
        self.savepoints: list[Any] = []
        self.seen: list[Any] = []

    def do(self, name: str, *arguments: Any) -> None:
        try:
            self.seen.append(getattr(self, name.replace(" ", "_"))(*arguments))
        except SQLAlchemyError as error:
            self.seen.append(type(error).__name__)

    def select(self, entity: Any, choice: int, descending: bool) -> Any:
        options = OPTIONS[entity][choice % len(OPTIONS[entity])]
        order = entity.id.desc() if descending else entity.id
        statement = select(entity).options(*options).order_by(order).limit(3 + choice)
        self.objects = list(self.session.scalars(statement).unique())
        return seen(self.objects)

    def touch(self, place: int, choice: int) -> Any:
        if not self.objects:
            return None
        return seen(value_of(self.objects[place % len(self.objects)], choice))

    def touch_all(self, choice: int) -> Any:
        return [seen(value_of(each, choice)) for each in self.objects]

    def touch_each(self, choice: int, order: list[int]) -> Any:
        places = [place for place in order if place < len(self.objects)]
        return [(place, seen(value_of(self.objects[place], choice))) for place in places]

    def go_on(self, choice: int) -> Any:
        """Walk on to what the objects hold."""
        held = [value_of(each, choice) for each in self.objects]
        self.objects = [each for value in held for each in flat(value)][:12]
        return seen(self.objects)

    def forget(self, place: int) -> None:
        del self.objects[place:]
        gc.collect()

    def assign(self, place: int, choice: int) -> None:
        for each in self.objects[place : place + 1]:
            users = [other for other in self.objects if isinstance(other, User)]
            if isinstance(each, Document):
                each.user = None
            elif isinstance(each, User) and users:
                each.boss = users[choice % len(users)]
                if not inspect(each.boss).persistent:
                    each.boss = None

    def key(self, place: int, choice: int) -> None:
        for each in self.objects[place : place + 1]:
            if isinstance(each, Document):
                each.user_id = 1 + choice
            elif isinstance(each, User):
                each.limit = choice

    def add(self, choice: int) -> None:
        users = [each for each in self.objects if isinstance(each, User)]
        document = Document(title="new", kind="note", size=choice)
        if users and choice % 2:
            document.user = users[choice % len(users)]
        else:
            document.user_id = 1 + choice
        self.session.add(document)

    def flush(self) -> None:
        self.session.flush()

    def commit(self) -> None:
        self.savepoints.clear()
        self.session.commit()

    def rollback(self) -> None:
        self.savepoints.clear()
        self.session.rollback()

    def expire_all(self) -> None:
        self.session.expire_all()

    def savepoint(self) -> None:
        self.savepoints.append(self.session.begin_nested())

    def back_to_it(self) -> None:
        if self.savepoints:
            self.savepoints.pop().rollback()

    def expire(self, place: int) -> None:
        self.each("expire", place)

    def refresh(self, place: int) -> None:
        self.each("refresh", place)

    def expunge(self, place: int) -> None:
        self.each("expunge", place)

    def delete(self, place: int) -> None:
        self.each("delete", place)

    def each(self, method: str, place: int) -> None:
        for each in self.objects[place : place + 1]:
            getattr(self.session, method)(each)

    def write(self, number: int) -> None:
        statement = update(Document).where(Document.id % 3 == number % 3)
        self.session.execute(
            statement.values(user_id=1 + number), execution_options={"synchronize_session": False}
        )

    def raw_write(self, number: int) -> None:
        row = {"title": "raw", "kind": "note", "size": number, "user_id": 1 + number % 4}
        self.session.connection().execute(insert(Document.__table__), row)


def value_of(instance: Any, choice: int) -> Any:
    names = RELATIONSHIPS[type(instance)]
    return getattr(instance, names[choice % len(names)])


def flat(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from (value[key] for key in sorted(value))
    elif isinstance(value, list):
        yield from value
    elif value is not None:
        yield value


def seen(value: Any) -> Any:
    """Return the keys of objects, and what they hold, without loading anything."""
    return [
        (type(each).__name__, inspect(each).identity, each.__dict__.get("user_id"))
        for each in flat(value)
    ]


@pytest.fixture(scope="module")
def make_engine() -> Iterator[Callable[[], Engine]]:
    """Return a way to get a filled database, copied from one that was filled once."""
    template = create_engine("sqlite://")
    Base.metadata.create_all(template)
    with Session(template) as session:
        session.add_all(User(id=n, name=f"User {n % 3}", limit=n % 3) for n in range(1, 10))
        session.flush()
        session.execute(update(User).where(User.id > 2).values(boss_id=User.id / 2))
        session.add_all(Profile(user_id=n) for n in range(1, 10, 2))
        session.add_all(Tag(id=n, name="") for n in range(1, 5))
        for n in range(1, 25):
            user_id = n * 7 % 10 or None
            kind = ("note", "letter")[n % 2]
            session.add(Document(id=n, title=f"{n % 4}", kind=kind, size=n % 5, user_id=user_id))
        session.flush()
        rows = [
            {"document_id": n, "tag_id": 1 + (n + k) % 4, "position": -k}
            for n in range(1, 25)
            for k in range(n % 4)
        ]
        session.execute(insert(tagging), [*rows, *rows[:3]])
        session.commit()
    raw = template.raw_connection()
    engines = []

    def make() -> Engine:
        engine = create_engine("sqlite://")
        copy = engine.raw_connection()
        raw.driver_connection.backup(copy.driver_connection)
        copy.close()
        engines.append(engine)
        return engine

    yield make
    raw.close()
    for engine in [template, *engines]:
        engine.dispose()


def run(
    engine: Engine, program: list[Any], batching: AbstractContextManager[None], **options: Any
) -> tuple[list[Any], int]:
    count = 0

    def note(*_: Any) -> None:
        nonlocal count
        count += 1

    event.listen(engine, "before_cursor_execute", note)
    with batching, Session(engine, **options) as session:
        running = Program(session)
        for step in program:
            running.do(*step)
    engine.dispose()
    return running.seen, count


@pytest.fixture
def only_new_objects_are_looked_at() -> Iterator[None]:
    """Keep what is there already, half a million objects, out of each collection of garbage."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(steps, min_size=4, max_size=25), st.booleans(), st.booleans())
@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")
@pytest.mark.usefixtures("only_new_objects_are_looked_at")
def test_same_program_same_sight(
    make_engine: Callable[[], Engine],
    program: list[Any],
    autoflush: bool,
    expire_on_commit: bool,
) -> None:
    program = [("select", User, 11, False), *program]
    options = {"autoflush": autoflush, "expire_on_commit": expire_on_commit}
    expected, alone = run(make_engine(), program, nullcontext(), **options)
    answer, batched = run(make_engine(), program, auto_batch(), **options)
    assert answer == expected
    assert batched <= alone
