"""A trial leaves nothing behind, and ends: whatever cannot be taken back, or goes on for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import Session
from sqlalchemy.pool import QueuePool

from flask_perfkit import PerfKit
from flask_perfkit.audit.trial import asking, limits
from flask_perfkit.audit.trial.asking import Outcome, asking_again, outcome_of
from flask_perfkit.audit.trial.untouched import nothing_kept
from flask_perfkit.state import Replay

TABLE = sa.Table("notes", sa.MetaData(), sa.Column("text", sa.Text))
OPENED: list[sa.Engine] = []


def engine_of(url: Any, **options: Any) -> sa.Engine:
    engine = sa.create_engine(url, **options)
    OPENED.append(engine)
    return engine


@pytest.fixture(autouse=True)
def disposed() -> Iterator[None]:
    yield
    while OPENED:
        OPENED.pop().dispose()


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path / 'notes.db'}"
    TABLE.create(engine_of(url))
    return url


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[str]:
    engine = engine_of(postgres_url)
    TABLE.drop(engine, checkfirst=True)
    TABLE.create(engine)
    yield postgres_url
    TABLE.drop(engine)


def tried(view: Callable[[], Any]) -> Outcome:
    app = Flask("notes")
    PerfKit(app)
    app.add_url_rule("/", view_func=view, endpoint="notes")
    with nothing_kept():
        return outcome_of(asking_again(app, Replay("/", "", ())))


def kept(url: str) -> int:
    with engine_of(url).connect() as connection:
        return connection.scalar(sa.select(sa.func.count()).select_from(TABLE)) or 0


def write(connection: Any) -> str:
    connection.execute(sa.insert(TABLE).values(text="left behind"))
    return "written"


def in_savepoint(engine: sa.Engine) -> None:
    with Session(engine) as session:
        with session.begin_nested():
            write(session)
        session.commit()


def in_autocommit(engine: sa.Engine) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        write(connection)


def by_the_driver(engine: sa.Engine) -> None:
    raw = engine.raw_connection()
    try:
        raw.cursor().execute("INSERT INTO notes VALUES ('left behind')")
        raw.commit()
    finally:
        raw.close()


def by_the_drivers_shortcut(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        raw = connection.connection.driver_connection
        assert raw is not None
        raw.execute("INSERT INTO notes VALUES ('left behind')")
        raw.commit()


def by_a_text(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        write(connection)
        connection.execute(sa.text("COMMIT"))


def by_two_texts_in_one(engine: sa.Engine) -> None:
    with engine.connect() as connection:
        connection.execute(sa.text("INSERT INTO notes VALUES ('a'); COMMIT"))


def by_ddl(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        write(connection)
        connection.execute(sa.text("CREATE TABLE other (id INTEGER)"))


CANNOT_BE_TAKEN_BACK = {
    in_autocommit: "it sends INSERT in AUTOCOMMIT, which cannot be taken back",
    by_the_driver: "it uses the driver's own connection, where nobody sees what is sent",
    by_the_drivers_shortcut: "it uses the driver's own connection, where nobody sees what is sent",
    by_a_text: "it sends COMMIT, which may not be taken back",
    by_two_texts_in_one: "it sends several statements, which may not be taken back",
    by_ddl: "it sends CREATE, which may not be taken back",
}
by_way = pytest.mark.parametrize(
    ("way", "reason"), CANNOT_BE_TAKEN_BACK.items(), ids=lambda each: getattr(each, "__name__", "")
)


@by_way
def test_what_no_rollback_takes_back_ends_the_trial(
    way: Callable[[sa.Engine], None], reason: str, url: str
) -> None:
    outcome = tried(lambda: way(engine_of(url)) or "")
    assert (outcome.answer, outcome.ended) == (None, reason)
    assert kept(url) == 0


@by_way
def test_on_postgresql_too(way: Callable[[sa.Engine], None], reason: str, postgres: str) -> None:
    outcome = tried(lambda: way(engine_of(postgres)) or "")
    assert (outcome.answer, outcome.ended) == (None, reason)
    assert kept(postgres) == 0


def test_a_savepoint_is_rolled_back_where_the_driver_would_commit_it(url: str) -> None:
    outcome = tried(lambda: in_savepoint(engine_of(url)) or "done")
    assert outcome.answer == (200, b"done")
    assert kept(url) == 0


def test_a_savepoint_is_rolled_back(postgres: str) -> None:
    outcome = tried(lambda: in_savepoint(engine_of(postgres)) or "done")
    assert outcome.answer == (200, b"done")
    assert kept(postgres) == 0


def test_an_error_handler_of_the_application_does_not_hide_that_it_was_ended(url: str) -> None:
    def view() -> str:
        try:
            in_autocommit(engine_of(url))
        except BaseException:
            return "all is well"
        return ""

    assert tried(view).ended == "it sends INSERT in AUTOCOMMIT, which cannot be taken back"
    assert kept(url) == 0


@pytest.mark.parametrize("reset", [None, "commit", "rollback"])
def test_the_pools_own_reset_does_not_matter(reset: Any, url: str) -> None:
    engine = engine_of(url, pool_reset_on_return=reset, poolclass=QueuePool)

    def view() -> str:
        connection = engine.connect()
        write(connection)
        connection.commit()
        connection.close()
        return "written"

    assert tried(view).answer == (200, b"written")
    with engine.begin() as connection:
        connection.execute(sa.select(TABLE))  # the pooled connection, whose transaction commits
    assert kept(url) == 0


def test_a_connection_that_is_never_closed(url: str) -> None:
    left: list[sa.Connection] = []

    def view() -> str:
        left.append(engine_of(url).connect())
        write(left[0])
        left[0].commit()
        return "written"

    assert tried(view).answer == (200, b"written")
    left[0].commit()
    left[0].close()
    assert kept(url) == 0


def test_a_thread_that_was_given_no_context_belongs_to_the_trial(url: str) -> None:
    def work() -> None:
        with engine_of(url).begin() as connection:
            write(connection)

    def view() -> str:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return "written"

    assert tried(view).answer == (200, b"written")
    assert kept(url) == 0


def test_a_transaction_from_before_is_not_rolled_back(url: str) -> None:
    with engine_of(url).connect() as connection:
        connection.execute(sa.insert(TABLE).values(text="mine"))
        outcome = tried(lambda: write(connection))
        assert outcome.ended == (
            "it sends INSERT in a transaction that was begun before, which would go with it"
        )
        connection.commit()
    assert kept(url) == 1


def test_what_others_commit_meanwhile_is_kept(url: str) -> None:
    engine = engine_of(url)
    with nothing_kept(), engine.begin() as connection:
        write(connection)
    assert kept(url) == 1


def test_an_endless_stream_is_named_and_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "MOST_BYTES", 1_000)
    released = []

    def events() -> Iterator[str]:
        try:
            while True:
                yield "data: tick\n\n"
        finally:
            released.append(True)

    outcome = tried(lambda: (events(), {"Content-Type": "text/event-stream"}))
    assert outcome.ended == "its body has more than 1,000 bytes"
    assert released


class Hanging:
    """Python drops what is raised here."""

    def __del__(self) -> None:
        hang()


def hang() -> str:
    while True:
        pass


def hang_twice() -> str:
    Hanging()
    return hang()


@pytest.mark.timeout(60, method="thread")  # the signal is for the trial
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("view", [hang, hang_twice])
@pytest.mark.parametrize("in_main_thread", [True, False])
def test_a_view_that_never_answers_is_left(
    in_main_thread: bool, view: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "GRACE", 0.1)
    outcomes = []

    def attempt() -> None:
        app = Flask("notes")
        app.add_url_rule("/", view_func=view)
        ask = asking_again(app, Replay("/", "", ()))
        outcomes.append(outcome_of(ask, limits.Trial(0.2)))

    if in_main_thread:
        attempt()
    else:
        thread = threading.Thread(target=attempt)
        thread.start()
        thread.join()
    assert outcomes[0].ended == "it takes more than 0.2 s, as an endless stream does"


def test_statements_are_counted_and_limited(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_STATEMENTS", 50)

    def view() -> str:
        with engine_of(url).connect() as connection:
            while True:
                connection.execute(sa.select(TABLE))

    outcome = tried(view)
    assert (outcome.statements, outcome.ended) == (51, "it sends more than 50 statements")
