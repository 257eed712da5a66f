"""``perfkit.allow``: findings that are known and wanted do not show up, and are not forgotten."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
from collections.abc import Callable, Iterator
from contextvars import copy_context
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask, Response, stream_with_context
from flask.views import MethodView
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    mapped_column,
    relationship,
    selectinload,
)
from sqlalchemy.pool import StaticPool

from flask_perfkit import FindingError, PerfKit, Profile, QueryCounter
from flask_perfkit.recording.allow import allow
from flask_perfkit.signals import request_profiled


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "user"
    id: Mapped[int] = mapped_column(primary_key=True)
    documents: Mapped[list[Document]] = relationship()
    notes: Mapped[list[Note]] = relationship()


class Document(Base):
    __tablename__ = "document"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(sa.ForeignKey("user.id"))


class Note(Base):
    __tablename__ = "note"
    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(sa.ForeignKey("user.id"))


NOT_SLOW = {"PERFKIT_SLOW_REQUEST": None, "PERFKIT_SLOW_QUERY": None}


@pytest.fixture
def session() -> Iterator[Session]:
    """Seven users, each with a document and a note."""
    engine = sa.create_engine(
        "sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False}
    )
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all(User(documents=[Document()], notes=[Note()]) for _ in range(7))
        session.commit()
    with Session(engine) as session:
        yield session
    engine.dispose()


@pytest.fixture
def perfkit() -> PerfKit:
    return PerfKit()


@pytest.fixture
def make_app(perfkit: PerfKit) -> Callable[..., Flask]:
    def make_app(**config: Any) -> Flask:
        app = Flask(__name__)
        app.config.update({**NOT_SLOW, "TESTING": True, **config})
        perfkit.init_app(app)
        return app

    return make_app


@pytest.fixture
def profiles() -> Iterator[list[Profile]]:
    collected: list[Profile] = []

    def collect(app: Flask, profile: Profile) -> None:
        collected.append(profile)

    with request_profiled.connected_to(collect):
        yield collected


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.WARNING, logger="flask_perfkit")
    return caplog


def users(session: Session) -> list[User]:
    session.expunge_all()
    return list(session.scalars(sa.select(User)))


def count_documents(session: Session) -> str:
    return str(sum(len(user.documents) for user in users(session)))


def found(profile: Profile) -> list[tuple[str, str]]:
    """Return kinds and subjects, but for what a busy machine may be slow at."""
    return [
        (finding.kind, finding.subject)
        for finding in profile.findings
        if finding.kind != "slow_query"
    ]


def allowed(profile: Profile) -> list[tuple[str, str, str]]:
    return [
        (finding.kind, finding.subject, finding.allowance.reason) for finding in profile.allowed
    ]


N_PLUS_ONE = ("n_plus_one", "User.documents")


# What is silenced


@pytest.mark.parametrize("on_finding", ["log", "raise", "callable"])
def test_an_allowed_finding_is_neither_logged_raised_nor_counted(
    make_app: Callable[..., Flask],
    perfkit: PerfKit,
    session: Session,
    profiles: list[Profile],
    log: pytest.LogCaptureFixture,
    on_finding: str,
) -> None:
    called: list[object] = []
    setting = called.append if on_finding == "callable" else on_finding
    app = make_app(PERFKIT_ON_FINDING=setting, PERFKIT_SERVER_TIMING=True)

    @app.get("/")
    @perfkit.allow(*N_PLUS_ONE, reason="seven users")
    def view() -> str:
        return count_documents(session)

    response = app.test_client().get("/")

    assert response.text == "7"
    assert "n_plus_one" not in response.headers["Server-Timing"]
    assert (called, log.messages) == ([], [])
    assert found(profiles[0]) == []
    assert allowed(profiles[0]) == [(*N_PLUS_ONE, "seven users")]
    (entry,) = profiles[0].to_dict()["allowed"]
    assert entry["allowance"]["reason"] == "seven users"


@pytest.mark.parametrize(
    ("kind", "subject", "is_allowed"),
    [
        ("n_plus_one", "User.documents", True),
        ("n_plus_one", "User.*", True),
        ("n_plus_one", "*", True),
        ("n_plus_one", "User.notes", False),
        ("n_plus_one", "User", False),
        ("duplicate_query", "User.documents", False),
    ],
)
def test_kind_and_subject_must_match(
    session: Session, kind: str, subject: str, is_allowed: bool
) -> None:
    with QueryCounter() as counter, allow(kind, subject):
        count_documents(session)

    assert found(counter.profile) == ([] if is_allowed else [N_PLUS_ONE])


def test_a_block_allows_what_happens_inside_it_only(session: Session) -> None:
    with QueryCounter() as counter:
        everybody = users(session)
        with allow("n_plus_one"):
            [user.documents for user in everybody]
        [user.notes for user in everybody]

    assert found(counter.profile) == [("n_plus_one", "User.notes")]
    assert allowed(counter.profile) == [(*N_PLUS_ONE, "")]


def test_one_line_is_judged_apart_inside_and_outside(session: Session) -> None:
    def load(some: list[User]) -> None:
        for user in some:
            user.documents  # noqa: B018

    with QueryCounter() as counter:
        everybody = users(session)
        with allow("n_plus_one"):
            load(everybody[:1])
        load(everybody[1:])

    assert [finding.count for finding in counter.findings] == [6]
    assert counter.profile.allowed == ()  # one load is no loop


def test_a_block_inside_a_loop_is_one_finding(session: Session) -> None:
    with QueryCounter() as counter:
        for user in users(session):
            with allow("n_plus_one"):
                user.documents  # noqa: B018

    assert found(counter.profile) == []
    assert [finding.count for finding in counter.profile.allowed] == [7]


def test_many_short_blocks_stay_allowed(session: Session) -> None:
    """More statements and blocks than are kept one by one."""
    with QueryCounter() as counter:
        for number in range(2_500):
            with allow("n_plus_one", "user"), allow("n_plus_one", "User"):
                session.execute(sa.text("SELECT id FROM user WHERE id = :id"), {"id": number})

    assert found(counter.profile) == []
    assert [finding.count for finding in counter.profile.allowed] == [2_500]


def test_blocks_nest_and_recur(session: Session) -> None:
    def walk(left: list[User]) -> None:
        if left:
            with allow(*N_PLUS_ONE):
                walk(left[1:])
                left[0].documents  # noqa: B018

    with QueryCounter() as counter:
        walk(users(session))

    assert [finding.count for finding in counter.profile.allowed] == [7]


def test_one_object_serves_many_blocks(session: Session) -> None:
    quietly = allow(*N_PLUS_ONE)
    with QueryCounter() as counter:
        for user in users(session):
            with quietly:
                user.documents  # noqa: B018
    assert found(counter.profile) == []


def test_a_block_in_an_error_ends(session: Session) -> None:
    with QueryCounter() as counter:
        with pytest.raises(KeyError), allow("n_plus_one"):
            raise KeyError
        count_documents(session)

    assert found(counter.profile) == [N_PLUS_ONE]


# Views of every kind


def _plain(app: Flask, session: Session, perfkit: PerfKit) -> None:
    @app.get("/")
    @perfkit.allow(*N_PLUS_ONE)
    def view() -> str:
        return count_documents(session)


def _coroutine(app: Flask, session: Session, perfkit: PerfKit) -> None:
    @app.get("/")
    @perfkit.allow(*N_PLUS_ONE)
    async def view() -> str:
        await asyncio.sleep(0)
        return count_documents(session)


def _generator(app: Flask, session: Session, perfkit: PerfKit) -> None:
    @app.get("/")
    @perfkit.allow(*N_PLUS_ONE)
    def view() -> Iterator[str]:
        yield count_documents(session)


def _streamed(app: Flask, session: Session, perfkit: PerfKit) -> None:
    @app.get("/")
    @perfkit.allow(*N_PLUS_ONE)
    def view() -> Response:
        def body() -> Iterator[str]:
            yield count_documents(session)

        return Response(stream_with_context(body()))


def _block_around_a_yield(app: Flask, session: Session, perfkit: PerfKit) -> None:
    @app.get("/")
    def view() -> Response:
        def body() -> Iterator[str]:
            everybody = users(session)
            with perfkit.allow(*N_PLUS_ONE):
                for user in everybody:
                    yield ""
                    user.documents  # noqa: B018
            yield "7"

        return Response(body())


def _method(app: Flask, session: Session, perfkit: PerfKit) -> None:
    class View(MethodView):
        decorators = (perfkit.allow(*N_PLUS_ONE),)

        def get(self) -> str:
            return count_documents(session)

    app.add_url_rule("/", view_func=View.as_view("view"))


def _counter_inside(app: Flask, session: Session, perfkit: PerfKit) -> None:
    @app.get("/")
    @perfkit.allow(*N_PLUS_ONE)
    def view() -> str:
        with QueryCounter():
            return count_documents(session)


@pytest.mark.parametrize(
    "add_view",
    [
        _plain,
        _coroutine,
        _generator,
        _streamed,
        _block_around_a_yield,
        _method,
        _counter_inside,
    ],
)
def test_every_kind_of_view(
    make_app: Callable[..., Flask],
    perfkit: PerfKit,
    session: Session,
    profiles: list[Profile],
    log: pytest.LogCaptureFixture,
    add_view: Callable[[Flask, Session, PerfKit], None],
) -> None:
    app = make_app()
    add_view(app, session, perfkit)

    assert app.test_client().get("/").text == "7"

    assert (found(profiles[0]), allowed(profiles[0])) == ([], [(*N_PLUS_ONE, "")])
    assert profiles[0].endpoint == "view"
    assert log.messages == []


def test_a_view_allows_for_its_request_only(
    make_app: Callable[..., Flask], perfkit: PerfKit, session: Session, profiles: list[Profile]
) -> None:
    app = make_app()
    _plain(app, session, perfkit)
    app.add_url_rule("/other", view_func=lambda: count_documents(session))

    for path in ("/", "/other", "/"):
        app.test_client().get(path)

    assert [found(profile) for profile in profiles] == [[], [N_PLUS_ONE], []]


def test_a_slow_request(
    make_app: Callable[..., Flask], perfkit: PerfKit, profiles: list[Profile]
) -> None:
    app = make_app(PERFKIT_SLOW_REQUEST=1e-9)

    @app.get("/export")
    @perfkit.allow("slow_request", "export")
    def export() -> str:
        return ""

    app.test_client().get("/export")

    assert (found(profiles[0]), allowed(profiles[0])) == ([], [("slow_request", "export", "")])


def test_threads_with_the_context(session: Session) -> None:
    everybody = users(session)

    def work() -> None:
        with allow(*N_PLUS_ONE):
            [user.documents for user in everybody]

    with QueryCounter() as counter:
        thread = threading.Thread(target=copy_context().run, args=(work,))
        thread.start()
        thread.join()

    assert (found(counter.profile), len(counter.profile.allowed)) == ([], 1)


# Around requests


def test_around_a_request(
    make_app: Callable[..., Flask], session: Session, profiles: list[Profile]
) -> None:
    app = make_app(PERFKIT_ON_FINDING="raise")
    app.add_url_rule("/", view_func=lambda: count_documents(session))
    client = app.test_client()

    with allow(*N_PLUS_ONE):
        assert client.get("/").text == "7"
        with QueryCounter() as counter:
            assert client.get("/").text == "7"
    with pytest.raises(FindingError):
        client.get("/")

    assert found(counter.profile) == []
    assert [len(profile.allowed) for profile in profiles] == [1, 1, 0]


def test_without_anything_that_records(session: Session) -> None:
    with allow("n_plus_one"):
        assert count_documents(session) == "7"
    assert allow("n_plus_one")(count_documents)(session) == "7"


# What matches nothing any more


def _says(log: pytest.LogCaptureFixture) -> list[str]:
    return [message for message in log.messages if "matches nothing" in message]


def test_says_once_that_a_problem_is_gone(
    make_app: Callable[..., Flask],
    perfkit: PerfKit,
    session: Session,
    profiles: list[Profile],
    log: pytest.LogCaptureFixture,
) -> None:
    app = make_app()

    @app.get("/")
    @perfkit.allow(*N_PLUS_ONE, reason="seven users")
    def view() -> str:
        at_once = session.scalars(sa.select(User).options(selectinload(User.documents)))
        return str(sum(len(user.documents) for user in at_once))

    for _ in range(2):
        assert app.test_client().get("/").text == "7"

    (message,) = _says(log)
    place = f"test_allow.py:{view.__wrapped__.__code__.co_firstlineno + 1}"  # type: ignore[attr-defined]
    assert message.startswith('allow("n_plus_one", "User.documents") at ')
    assert place in message
    assert message.endswith("matches nothing any more: remove it (its reason: seven users)")
    assert [allowance.subject for allowance in profiles[0].unmatched] == ["User.documents"]


def test_says_so_of_a_block(session: Session, log: pytest.LogCaptureFixture) -> None:
    with QueryCounter(), allow("n_plus_one", "User.friends"):
        users(session)

    assert len(_says(log)) == 1


@pytest.mark.parametrize(
    "act",
    [
        lambda session: [user.documents for user in users(session)[:2]],
        lambda session: users(session)[0].documents,
        lambda session: session.scalars(sa.select(User).limit(3)).all(),
    ],
    ids=["few loads", "one load", "few rows"],
)
def test_is_silent_where_more_data_would_show_the_problem(
    session: Session, log: pytest.LogCaptureFixture, act: Callable[[Session], object]
) -> None:
    with QueryCounter() as counter, allow(*N_PLUS_ONE):
        act(session)

    assert (_says(log), counter.profile.unmatched) == ([], ())


def test_is_silent_about_what_depends_on_the_data(
    session: Session, log: pytest.LogCaptureFixture
) -> None:
    with QueryCounter(), allow("unbounded_result", "User"), allow("slow_query", "Document"):
        users(session)

    assert _says(log) == []


def test_is_silent_about_a_request_that_failed(
    make_app: Callable[..., Flask], perfkit: PerfKit, log: pytest.LogCaptureFixture
) -> None:
    app = make_app()

    @app.get("/")
    @perfkit.allow(*N_PLUS_ONE)
    def view() -> tuple[str, int]:
        return "", 404

    app.test_client().get("/")

    assert _says(log) == []


# How it is asked


def test_an_unknown_kind_is_refused(perfkit: PerfKit) -> None:
    with pytest.raises(ValueError, match=r"'n\+1' is no kind of finding; allowed is n_plus_one, "):
        perfkit.allow("n+1")


def test_a_coroutine_function_stays_one(perfkit: PerfKit) -> None:
    @perfkit.allow("n_plus_one")
    async def answer(number: int) -> int:
        """Say it."""
        return number

    assert inspect.iscoroutinefunction(answer)
    assert (answer.__name__, answer.__doc__, asyncio.run(answer(3))) == ("answer", "Say it.", 3)
