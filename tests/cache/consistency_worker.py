"""A process of the consistency test: it reads and writes as told, and checks each read itself.

Each paper counts two things upwards, each in its own column: ``version``, which also decides
who owns it, and ``touched``. So a value tells its age, and a reader knows how old it may be:
before it begins, it notes for each paper the highest number whose commit had returned.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from flask_perfkit.cache.cache import Cache
from flask_perfkit.cache.lookup import maker
from flask_perfkit.cache.writes import transactions

PAPERS = 4
OWNERS = 3
MARK_SECONDS = 1.0
LOCK_SECONDS = 0.2


class Base(DeclarativeBase):
    pass


class Paper(Base):
    __tablename__ = "papers"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    owner_id: Mapped[int]
    version: Mapped[int]
    touched: Mapped[int]


def owner_of(paper: int, version: int) -> int:
    """Say whose a paper is: it moves with every second version."""
    return (paper + version // 2) % OWNERS


@dataclass
class Shared:
    """Memory of all processes: numbers whose commits returned, and versions that were begun."""

    versions: Any
    touches: Any
    begun: Any
    reads: Any
    """Two numbers: reads that were checked, and those that were wrong."""


@dataclass(frozen=True)
class Fork:
    """Fork a child, which writes and then reads."""

    write: Write
    read: Read


@dataclass(frozen=True)
class Read:
    """Read through the cache, in one of these ways, the papers of an owner."""

    way: str
    owner: int


@dataclass(frozen=True)
class Write:
    """Write in one of these ways; ``die_at`` kills the process at that step of its commit."""

    way: str
    paper: int
    commit: bool = True
    die_at: int | None = None


class Worker:
    """Runs operations in threads of this process."""

    def __init__(self, database: str, redis_url: str | None, shared: Shared) -> None:
        transactions.MARK_SECONDS = MARK_SECONDS
        maker.LOCK_SECONDS = LOCK_SECONDS
        self.cache = Cache.from_url(redis_url)
        self._shared = shared
        self._engine = sa.create_engine(database, **_options(database))
        # A fork while SQLAlchemy connects or maps for the first time would leave its locks held.
        orm.configure_mappers()
        with suppress(sa.exc.OperationalError):  # a new worker while the database is cut off
            self._engine.connect().close()
        self._random = random.Random()
        self._here = threading.local()
        self._counting = threading.Lock()
        self._busy = 0
        self._calm = threading.Condition()
        self._lose_time()

    def run(self, operation: Read | Write | Fork) -> str | None:
        """Run an operation; return what is wrong with what it saw."""
        self._pause()
        if isinstance(operation, Fork):
            return self._fork(operation)
        with self._asking():
            if isinstance(operation, Write):
                self._write(operation)
                return None
            wrong = self._read(operation)
        with self._counting:
            self._shared.reads[0] += 1
            self._shared.reads[1] += wrong is not None
        return wrong

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """Count a thread that may hold a lock of the database."""
        with self._calm:
            self._busy += 1
        try:
            yield
        finally:
            with self._calm:
                self._busy -= 1
                self._calm.notify_all()

    def _fork(self, fork: Fork) -> str | None:
        reading, writing = os.pipe()
        with self._calm:
            # SQLite keeps in memory which locks its process has: a child of that moment would
            # take those of its parent's threads for its own, and wait for them for ever.
            if self._engine.dialect.name == "sqlite":
                self._calm.wait_for(lambda: self._busy == 0)
            child = os.fork()
        if child == 0:
            try:
                _let_go_of_sockets()
                self._engine.dispose(close=False)
                self._write(fork.write)
                os.write(writing, (self._read(fork.read) or "").encode())
            except BaseException as error:
                os.write(writing, f"{fork}: {error!r}".encode())
            finally:
                os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as answer:
            wrong = answer.read()
        os.waitpid(child, 0)
        return wrong or None

    def _read(self, read: Read) -> str | None:
        least = list(zip(self._shared.versions, self._shared.touches, strict=True))
        found: dict[str, list[int]] = READERS[read.way](self, read.owner)
        if read.way == "old session":
            return None  # what it shows is as old as the session; it must only not be stored
        for paper, (version, touched) in enumerate(least):
            seen = found.get(str(paper))
            if seen is None:
                newest = self._shared.begun[paper]
                if all(owner_of(paper, v) == read.owner for v in range(version, newest + 1)):
                    return f"{read}: paper {paper} is missing since version {version}"
            elif seen[0] < version or seen[1] < touched:
                return f"{read}: paper {paper} is {seen}, but {[version, touched]} had returned"
        return None

    def papers_of(self, owner: int, session: Session | None = None) -> dict[str, list[int]]:
        """Ask the database."""
        if session is None:
            with Session(self._engine) as session:
                return self.papers_of(owner, session)
        query = sa.select(Paper).where(Paper.owner_id == owner)
        found = {str(paper.id): [paper.version, paper.touched] for paper in session.scalars(query)}
        self._pause()
        return found

    def old_session(self, owner: int) -> dict[str, list[int]]:
        """Ask through a session that has held all papers for a while."""
        with Session(self._engine) as session:
            held = session.scalars(sa.select(Paper)).all()
            self._pause(5)
            found = self.cache.get_or_create(
                f"declared:{owner}", lambda: self.papers_of(owner, session), depends_on=[Paper]
            )
            del held
            return found

    def _write(self, write: Write) -> None:
        self._here.die_at = write.die_at
        self._here.steps = 0
        try:
            with Session(self._engine) as session:
                changed = WRITERS[write.way](self, session, write.paper)
                self._pause()
                if not write.commit:
                    session.rollback()
                    return
                session.commit()
                for paper, version, touched in changed:
                    self._shared.versions[paper] = max(version, self._shared.versions[paper])
                    self._shared.touches[paper] = max(touched, self._shared.touches[paper])
        finally:
            self._here.die_at = None

    def lock(self, session: Session, paper: int) -> sa.Row[Any]:
        """Read a paper so that nobody else writes it until this transaction ends."""
        if self._engine.dialect.name == "sqlite":
            session.connection().exec_driver_sql("BEGIN IMMEDIATE")
        columns = (Paper.id, Paper.owner_id, Paper.version, Paper.touched)
        query = sa.select(*columns).where(Paper.id == paper).with_for_update()
        return session.execute(query).one()

    def new_version(self, session: Session, paper: int) -> tuple[int, int, int]:
        """Begin the next version of a paper: paper, version, touched."""
        row = self.lock(session, paper)
        self._shared.begun[paper] = max(row.version + 1, self._shared.begun[paper])
        return paper, row.version + 1, row.touched

    def pause(self) -> None:
        """Let others come in between."""
        self._pause()

    def _pause(self, longer: int = 1) -> None:
        time.sleep(self._random.choice((0, 0, 0.0005, 0.002)) * longer)

    def _lose_time(self) -> None:
        """Put a pause, and a place to die, around each step of the protocol."""
        backend, dialect = self.cache._shared.backend, self._engine.dialect
        for owner, names in (
            (backend, ("read", "prepare", "store", "begin", "end")),
            (dialect, ("do_commit",)),
        ):
            for name in names:
                setattr(owner, name, self._slowed(getattr(owner, name)))

    def _slowed(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def slowed(*args: Any, **kwargs: Any) -> Any:
            self._step()
            result = step(*args, **kwargs)
            self._step()
            return result

        return slowed

    def _step(self) -> None:
        self._pause()
        die_at = getattr(self._here, "die_at", None)
        if die_at is None:
            return
        if self._here.steps == 0:
            self._here.started = time.monotonic()
        # A mark that has run out before its writer dies protects nobody: that is the limit of
        # the protocol, and a busy machine could bring it about here.
        if self._here.steps == die_at and time.monotonic() < self._here.started + MARK_SECONDS / 2:
            os.kill(os.getpid(), signal.SIGKILL)
        self._here.steps += 1

    def at_level(self, owner: int, level: str) -> dict[str, list[int]]:
        """Ask in a transaction whose level a text has set."""
        with Session(self._engine) as session:
            if self._engine.dialect.name == "postgresql":
                session.execute(sa.text(f"SET TRANSACTION ISOLATION LEVEL {level}"))
            return self.papers_of(owner, session)

    def awaited(self, owner: int) -> dict[str, list[int]]:
        """Ask by a coroutine."""

        async def create() -> dict[str, list[int]]:
            return self.papers_of(owner)

        needs = [Paper.owner_id == owner]
        return asyncio.run(self.cache.get_or_await(f"awaited:{owner}", create, depends_on=needs))


def _options(database: str) -> dict[str, Any]:
    if database.startswith("sqlite"):
        return {"connect_args": {"timeout": 100}}
    return {"pool_pre_ping": True}


READERS: dict[str, Callable[[Worker, int], Any]] = {
    "declared": lambda w, owner: w.cache.get_or_create(
        f"declared:{owner}", lambda: w.papers_of(owner), depends_on=[Paper]
    ),
    "by value": lambda w, owner: w.cache.get_or_create(
        f"by value:{owner}", lambda: w.papers_of(owner), depends_on=[Paper.owner_id == owner]
    ),
    "learned": lambda w, owner: w.cache.get_or_create(
        f"learned:{owner}", lambda: w.papers_of(owner)
    ),
    "nested": lambda w, owner: w.cache.get_or_create(
        f"nested:{owner}", lambda: READERS["by value"](w, owner)
    ),
    "many": lambda w, owner: (
        w.cache.get_many([f"declared:{owner}", f"by value:{owner}"]).get(f"by value:{owner}")
        or READERS["by value"](w, owner)
    ),
    "short life": lambda w, owner: w.cache.get_or_create(
        f"short:{owner}", lambda: w.papers_of(owner), depends_on=[Paper], ttl=0.01, stale=0.02
    ),
    "old session": Worker.old_session,
    "repeatable read": lambda w, owner: w.cache.get_or_create(
        f"repeatable:{owner}", lambda: w.at_level(owner, "REPEATABLE READ")
    ),
    "serializable": lambda w, owner: w.cache.get_or_create(
        f"serializable:{owner}",
        lambda: w.at_level(owner, "SERIALIZABLE, READ ONLY"),
        depends_on=[Paper],
    ),
    "awaited": Worker.awaited,
}


def _unit_of_work(worker: Worker, session: Session, paper: int) -> list[tuple[int, int, int]]:
    changed = worker.new_version(session, paper)
    loaded = session.get_one(Paper, paper)
    loaded.version = changed[1]
    loaded.owner_id = owner_of(paper, changed[1])
    session.flush()
    return [changed]


def _core(worker: Worker, session: Session, paper: int) -> list[tuple[int, int, int]]:
    changed = worker.new_version(session, paper)
    values = {"version": changed[1], "owner_id": owner_of(paper, changed[1])}
    session.execute(sa.update(Paper.__table__).where(Paper.id == paper).values(values))
    return [changed]


def _touch(worker: Worker, session: Session, paper: int) -> list[tuple[int, int, int]]:
    """Change another column, through an object that may have been moved since it was loaded."""
    loaded = session.get_one(Paper, paper)
    version = loaded.version
    worker.pause()
    loaded.touched = Paper.touched + 1
    session.flush()
    return [(paper, version, loaded.touched)]


def _touch_owners(worker: Worker, session: Session, paper: int) -> list[tuple[int, int, int]]:
    owner = paper % OWNERS
    in_order = sa.select(Paper.id).where(Paper.owner_id == owner).order_by(Paper.id)
    # Two of us that took rows in any order would lock each other out.
    locked = session.scalars(in_order.with_for_update()).all()
    touch = (
        sa.update(Paper)
        .where(Paper.owner_id == owner, Paper.id.in_(locked))
        .values(touched=Paper.touched + 1)
        .returning(Paper.id, Paper.version, Paper.touched)
        .execution_options(synchronize_session=False)
    )
    return [(row.id, row.version, row.touched) for row in session.execute(touch)]


def _touch_by_text(worker: Worker, session: Session, paper: int) -> list[tuple[int, int, int]]:
    session.execute(
        sa.text("UPDATE papers SET touched = touched + 1 WHERE id = :paper"), {"paper": paper}
    )
    row = session.execute(sa.select(Paper.version, Paper.touched).where(Paper.id == paper)).one()
    return [(paper, row.version, row.touched)]


def _touch_by_procedure(worker: Worker, session: Session, paper: int) -> list[tuple[int, int, int]]:
    """Change a paper by a block whose words tell nothing, where the database has such."""
    if session.get_bind().dialect.name != "postgresql":
        return _touch_by_text(worker, session, paper)
    session.execute(
        sa.text(
            f"DO $$ BEGIN EXECUTE 'UPDATE papers SET touched = touched + 1 WHERE id = {paper}'; "
            "END $$"
        )
    )
    row = session.execute(sa.select(Paper.version, Paper.touched).where(Paper.id == paper)).one()
    return [(paper, row.version, row.touched)]


def _touch_in_savepoint(worker: Worker, session: Session, paper: int) -> list[tuple[int, int, int]]:
    with session.begin_nested() as given_up:
        session.execute(sa.update(Paper).where(Paper.id == paper).values(touched=-1))
        given_up.rollback()
    with session.begin_nested():
        return _touch(worker, session, paper)


WRITERS: dict[str, Callable[[Worker, Session, int], list[tuple[int, int, int]]]] = {
    "unit of work": _unit_of_work,
    "core": _core,
    "touch": _touch,
    "touch owner's": _touch_owners,
    "touch by text": _touch_by_text,
    "touch by procedure": _touch_by_procedure,
    "touch in a savepoint": _touch_in_savepoint,
}


def fill(database: str) -> None:
    """Make the papers, at version 0."""
    engine = sa.create_engine(database, **_options(database))
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all(
            Paper(id=paper, owner_id=owner_of(paper, 0), version=0, touched=0)
            for paper in range(PAPERS)
        )
        session.commit()
    engine.dispose()


def remember_what_was_committed(database: str, shared: Shared) -> None:
    """Count commits as returned whose writers died before they could tell."""
    engine = sa.create_engine(database, **_options(database))
    with Session(engine) as session:
        for paper in session.scalars(sa.select(Paper)):
            shared.versions[paper.id] = paper.version
            shared.touches[paper.id] = paper.touched
    engine.dispose()


def _let_go_of_sockets() -> None:
    """Hold nothing open of a parent: nobody else would hear that it has died.

    Their numbers stay taken, as there are objects which will close them.
    """
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in map(int, os.listdir("/dev/fd")):
        with suppress(OSError):
            if stat.S_ISSOCK(os.fstat(number).st_mode):
                os.dup2(nothing, number)


def serve(connection: Connection, database: str, redis_url: str | None, shared: Shared) -> None:
    """Run what comes through the pipe, each in a thread, and answer with what is wrong."""
    worker = Worker(database, redis_url, shared)
    sending = threading.Lock()

    def answer(operation: Read | Write | Fork) -> None:
        try:
            wrong = worker.run(operation)
        except Exception as error:
            wrong = f"{operation}: {error!r}"
        with sending:
            connection.send(wrong)

    while True:
        try:
            operation = connection.recv()
        except EOFError:
            return
        threading.Thread(target=answer, args=(operation,), daemon=True).start()
