"""Our own faults, and those of what the host gives us, never reach the host."""

from __future__ import annotations

import importlib
import logging
import sqlite3
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
import sqlalchemy as sa
from archive import Document, User, archive, database, db, names_of_owners, profiles
from flask import Flask, Response, stream_with_context
from sqlalchemy import event
from sqlalchemy.orm import Session

from flask_perfkit import Finding, PerfKit, Profile, QueryCounter, faults
from flask_perfkit.faults import log_once
from flask_perfkit.recording import causes
from flask_perfkit.recording.recorder import current
from flask_perfkit.signals import request_profiled


class Fault(Exception):
    """What our code is made to raise."""


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let each test see its fault logged; forget what was remembered of statements."""
    monkeypatch.setattr(faults, "_seen", set())
    for module, name in [
        ("recording.callsite", "memory"),
        ("recording.callsite", "_sites"),
        ("recording.callsite", "_lines"),
        ("recording.callsite", "_files"),
        ("recording.fingerprint", "_shapes"),
        ("recording.causes", "_reasons"),
    ]:
        getattr(importlib.import_module(f"flask_perfkit.{module}"), name).clear()
    yield
    assert current() is None


def stream() -> Response:
    def rows() -> Iterator[str]:
        for user in db.session.scalars(sa.select(User)):
            yield f"{len(user.documents)}"

    return Response(stream_with_context(rows()))


def write() -> str:
    for number in range(100, 107):
        db.session.add(User(id=number, name="new"))
        db.session.flush()
    db.session.execute(sa.insert(Document), [{"user_id": 1, "title": "a"}] * 3)
    db.session.rollback()
    return "written"


def fail_and_go_on() -> str:
    with pytest.raises(sa.exc.OperationalError, match="no such table"):
        db.session.execute(sa.text("SELECT 1 FROM missing"))
    return "went on"


def count() -> str:
    with QueryCounter(threshold=1):
        return ", ".join(names_of_owners()[:2])


VIEWS = {
    "/block": (count, 200, "user 1, user 2"),
    "/names": (names_of_owners, 200, [f"user {number}" for number in range(1, 11)]),
    "/stream": (stream, 200, "1" * 10),
    "/write": (write, 200, "written"),
    "/failing": (fail_and_go_on, 200, "went on"),
    "/plain": (lambda: "ok", 200, "ok"),
}


def add_views(app: Flask) -> None:
    for path, (view, _, _) in VIEWS.items():
        app.add_url_rule(path, endpoint=path, view_func=view)


def check_all(app: Flask) -> None:
    """Ask every view: each answers what it answers without us."""
    client = app.test_client()
    for path, (_, status, answer) in VIEWS.items():
        response = client.get(path)
        assert (response.status_code, response.json or response.text) == (status, answer), path
        response.close()
        assert client.get("/nothing").status_code == 404


def faults_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage() for record in caplog.records if "and was skipped" in record.getMessage()
    ]


# Every function of ours, one by one

HOOKED = {
    "wsgi": ["_goes_to_kernel", "closes_bodies", "_StreamedBody", "_follow"],
    "hooks.requests": [
        "_facts", "view_of", "request_of",
        "_note_failure", "analyse", "deliver", "server_timing",
        "first_look", "path_of", "answer_of",
    ],
    "hooks.facts": ["is_application", "_is_small"],
    "hooks.sqlalchemy": ["walk", "position_of", "way_to_see", "see", "written", "failed", "Rows"],
    "hooks.rows": [
        "operation_of", "reads_one_row", "branches_of", "texts_of",
        "written", "_see_written", "_see_studied", "Rows", "are_watched",
    ],
    "recording.recorder": ["Causes", "Calls"],
    "recording.callsite": [
        "upwards", "_touched", "_position", "_line", "source_of", "passes_on",
        "is_around", "is_application", "_is_application", "Site", "Line",
    ],
    "recording.frames": ["function_of"],
    "recording.reason": ["tables_in", "is_volatile", "eager_of", "mapper_of_name"],
    "recording.causes": [
        "shape_of", "_reason", "_by_path", "_add_values", "_flushed", "in_rows", "fingerprints",
        "moving", "operation_of", "reason_of", "path_of", "Cause", "Executions",
    ],
    "recording.fingerprint": ["_shape_of", "Shape", "Comparison"],
    "detectors.analysis": ["Profile", "uses_of", "perf_counter_ns"],
    "detectors.detection": ["detect"],
    "recording.cause": ["most_common", "Query"],
    "sinks.headers": ["line", "_quoted"],
}  # fmt: skip

PLACES = [(module, name) for module, names in HOOKED.items() for name in names]


@pytest.mark.slow
@pytest.mark.parametrize(("module_name", "name"), PLACES)
def test_a_fault_of_ours_leaves_every_response_as_it_is(
    module_name: str,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    module = importlib.import_module(f"flask_perfkit.{module_name}")
    with archive(server_timing=True) as app, profiles(app):
        add_views(app)
        break_function(monkeypatch, module, name)
        check_all(app)
        said = faults_in(caplog)
        check_all(app)

    assert faults_in(caplog) == said, "a fault is said once"


def break_function(monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str) -> None:
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise Fault(name)

    monkeypatch.setattr(module, name, broken)


METHODS = [
    ("metrics.requests", "MeasuredRequest", "__init__"),
    ("metrics.requests", "MeasuredRequest", "_count"),
    ("metrics.requests", "MeasuredRequest", "discard"),
    ("metrics.requests", "MeasuredRequest", "absorb"),
    ("recording.recorder", "Recorder", "fold"),
    ("recording.recorder", "Recorder", "close"),
    ("recording.recorder", "Recorder", "discard"),
    ("recording.recorder", "Recorder", "absorb"),
    ("recording.recorder", "Recorder", "begin_flush"),
    ("recording.recorder", "Recorder", "end_flush"),
    ("recording.causes", "Causes", "add"),
    ("recording.causes", "Causes", "_add"),
    ("recording.causes", "Causes", "_cause"),
    ("hooks.requests", "RequestRecorder", "is_let_go"),
    ("hooks.requests", "RequestRecorder", "is_complete"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("module_name", "class_name", "name"), METHODS)
def test_a_fault_in_a_method_leaves_every_response_as_it_is(
    module_name: str,
    class_name: str,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    owner = getattr(importlib.import_module(f"flask_perfkit.{module_name}"), class_name)
    # Nobody listens: what other tests connected would make every request worth a report.
    monkeypatch.setattr(request_profiled, "receivers", {})

    def broken(*args: Any, **kwargs: Any) -> Any:
        raise Fault(name)

    metrics_path = "/metrics" if class_name == "MeasuredRequest" else None
    with archive(metrics_path=metrics_path) as app:
        add_views(app)
        monkeypatch.setattr(owner, name, broken)
        check_all(app)
        said = faults_in(caplog)
        check_all(app)
    assert faults_in(caplog) == said != []


def test_a_fault_is_logged_with_its_traceback(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with archive() as app:
        add_views(app)
        break_function(monkeypatch, causes, "shape_of")
        app.test_client().get("/names")
        app.test_client().get("/names")

    (record,) = caplog.records
    assert (record.name, record.levelno) == ("flask_perfkit", logging.ERROR)
    assert "was skipped (logged once): Fault: shape_of" in record.getMessage()
    assert record.exc_info is not None


SECRET = "".join(("hunter", "2"))  # the line of a frame is shown


def fail_in_the_driver() -> None:
    sqlite3.connect(":memory:").execute(f"SELECT * FROM {SECRET}")


def fail_in_sqlalchemy() -> None:
    sa.select(sa.literal({"password": SECRET})).compile(compile_kwargs={"literal_binds": True})


def fail_because_of_it() -> None:
    try:
        fail_in_sqlalchemy()
    except sa.exc.CompileError as error:
        raise Fault from error


def fail_with_it_in_a_group() -> None:
    try:
        fail_in_the_driver()
    except sqlite3.Error as error:
        group = ExceptionGroup("several", [error])
    raise group


@pytest.mark.parametrize(
    "fail", [fail_in_the_driver, fail_in_sqlalchemy, fail_because_of_it, fail_with_it_in_a_group]
)
def test_values_of_a_statement_stay_out_of_the_log(
    fail: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    try:
        fail()
    except Exception:
        log_once("reading a statement")
    assert SECRET not in caplog.text
    assert fail.__name__ in caplog.text


def test_a_fault_in_a_block_leaves_the_block_as_it_is(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with database() as engine, Session(engine) as session:
        break_function(monkeypatch, causes, "shape_of")
        with QueryCounter(threshold=1):
            names = session.scalars(sa.select(User.name)).all()
            session.get(User, 1)
    assert len(names) == 10
    assert faults_in(caplog)


# Detectors and sinks


def test_a_detector_that_fails_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from flask_perfkit.detectors import detection

    def broken(*_: Any) -> list[Finding]:
        raise Fault

    monkeypatch.setattr(detection, "DETECTORS", (broken, *detection.DETECTORS, broken))
    with archive() as app, profiles(app) as collected:
        add_views(app)
        for _ in range(2):
            app.test_client().get("/names")
    assert [[finding.kind for finding in profile.findings] for profile in collected] == [
        ["n_plus_one"],
        ["n_plus_one"],
    ]
    assert len(faults_in(caplog)) == 1


def test_a_sink_that_fails_does_not_hide_the_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from flask_perfkit import wiring

    def broken(profile: Profile) -> None:
        raise Fault

    monkeypatch.setattr(wiring, "FindingLog", lambda *_: broken)
    with archive() as app, profiles(app) as collected:
        add_views(app)
        for _ in range(2):
            assert app.test_client().get("/names").status_code == 200
    assert len(collected) == 2
    assert len(faults_in(caplog)) == 1


def test_a_receiver_that_fails_does_not_hide_the_others(caplog: pytest.LogCaptureFixture) -> None:
    def broken(sender: Flask, profile: Profile) -> None:
        raise Fault

    with archive(on_finding="ignore") as app:
        add_views(app)
        with request_profiled.connected_to(broken, app), profiles(app) as collected:
            for _ in range(3):
                assert app.test_client().get("/names").status_code == 200
    assert len(collected) == 3
    assert len(faults_in(caplog)) == 1


def test_a_callable_that_fails_gets_the_next_finding_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked: list[str] = []

    def broken(finding: Finding) -> None:
        asked.append(finding.kind)
        raise Fault

    with archive(on_finding=broken, unbounded_rows=5) as app:
        add_views(app)
        assert app.test_client().get("/names").status_code == 200
    assert sorted(asked) == ["n_plus_one", "unbounded_result"]
    assert len(faults_in(caplog)) == 1


class Picky(logging.Handler):
    """Fails on the messages that it does not like, as a handler of the host may."""

    def __init__(self, disliked: str) -> None:
        super().__init__()
        self.disliked = disliked
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if self.disliked in record.getMessage():
            raise Fault
        self.said.append(record.getMessage().partition(":")[0])


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[logging.Logger]:
    """The package's logger without the handlers of pytest."""
    logger = logging.getLogger("flask_perfkit")
    monkeypatch.setattr(logger, "propagate", False)
    yield logger
    for handler in list(logger.handlers):
        logger.removeHandler(handler)


@pytest.mark.parametrize("disliked", ["n_plus_one", "unbounded_result"])
def test_a_log_handler_that_fails_on_one_finding_gets_the_others(
    log: logging.Logger, disliked: str
) -> None:
    handler = Picky(disliked)
    log.addHandler(handler)
    with archive(unbounded_rows=5) as app, profiles(app) as collected:
        add_views(app)
        assert app.test_client().get("/names").status_code == 200
    assert len(collected) == 1
    (other,) = {"n_plus_one", "unbounded_result"} - {disliked}
    assert other in handler.said


def test_a_log_handler_that_always_fails_breaks_nothing(log: logging.Logger) -> None:
    log.addHandler(Picky(""))
    with archive(unbounded_rows=5) as app, profiles(app) as collected:
        add_views(app)
        check_all(app)
    assert len(collected) == 2 * len(VIEWS)


def test_a_log_handler_that_fails_does_not_break_a_block(log: logging.Logger) -> None:
    log.addHandler(Picky(""))
    with database() as engine, Session(engine) as session, QueryCounter(threshold=0):
        assert session.get(User, 1) is not None


# What others put in our way


def test_a_module_that_cannot_be_looked_at_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    class Lazy(ModuleType):
        def __getattr__(self, name: str) -> Any:
            raise ImportError(f"{name} needs what is not installed")

    monkeypatch.setitem(sys.modules, "lazy_module", Lazy("lazy_module"))
    with archive() as app:
        add_views(app)
        check_all(app)


# Listeners of others to the same events


@pytest.fixture
def listened() -> Iterator[tuple[sa.Engine, list[str]]]:
    with database() as engine:
        yield engine, []


def select_twice(engine: sa.Engine) -> list[str]:
    with engine.connect() as connection:
        return [
            str(
                connection.execute(
                    sa.text("SELECT name FROM user WHERE id = :id"), {"id": n}
                ).scalar()
            )
            for n in (1, 2)
        ]


def test_a_listener_that_only_looks_is_called(listened: tuple[sa.Engine, list[str]]) -> None:
    engine, seen = listened

    @event.listens_for(engine, "do_execute")
    def look(cursor: Any, statement: str, parameters: Any, context: Any) -> None:
        seen.append(statement)

    with QueryCounter() as counter:
        assert select_twice(engine) == ["user 1", "user 2"]
    assert counter.count == len(seen) == 2


def test_a_listener_that_replaces_the_call_still_does(
    listened: tuple[sa.Engine, list[str]],
) -> None:
    engine, seen = listened

    @event.listens_for(engine, "do_execute")
    def replace(cursor: Any, statement: str, parameters: Any, context: Any) -> bool:
        seen.append(statement)
        cursor.execute("SELECT 'replaced'")
        return True

    with QueryCounter() as counter:
        assert select_twice(engine) == ["replaced", "replaced"]
    assert counter.count == len(seen) == 2


def test_a_listener_of_the_second_engine_of_a_block_is_called(
    listened: tuple[sa.Engine, list[str]],
) -> None:
    engine, seen = listened

    @event.listens_for(engine, "do_execute")
    def look(cursor: Any, statement: str, parameters: Any, context: Any) -> None:
        seen.append(statement)

    with database() as first, QueryCounter() as counter:
        select_twice(first)
        assert select_twice(engine) == ["user 1", "user 2"]
    assert counter.count == 4
    assert len(seen) == 2


def test_a_listener_that_fails_fails_the_statement(listened: tuple[sa.Engine, list[str]]) -> None:
    engine, _ = listened

    @event.listens_for(engine, "do_execute")
    def refuse(cursor: Any, statement: str, parameters: Any, context: Any) -> None:
        raise Fault

    with QueryCounter() as counter, pytest.raises(Fault):
        select_twice(engine)
    assert [query.error for query in counter.queries] == ["Fault"]


@pytest.mark.parametrize("many", [True, False])
def test_listeners_to_the_rarer_events_are_called(
    listened: tuple[sa.Engine, list[str]], many: bool
) -> None:
    engine, seen = listened
    name = "do_executemany" if many else "do_execute_no_params"

    @event.listens_for(engine, name)
    def look(*args: Any) -> None:
        seen.append(args[1])

    with QueryCounter() as counter, engine.connect() as connection:
        if many:
            connection.execute(sa.insert(User), [{"name": "a"}, {"name": "b"}])
        else:
            options = connection.execution_options(no_parameters=True)
            options.execute(sa.text("SELECT 1"))
    assert counter.count == len(seen) == 1


def test_a_listener_before_ours_that_answers_is_respected(
    listened: tuple[sa.Engine, list[str]],
) -> None:
    from flask_perfkit.hooks.sqlalchemy import _LISTENERS, watch_statements

    engine, seen = listened

    def answer(cursor: Any, statement: str, parameters: Any, context: Any) -> bool:
        seen.append(statement)
        cursor.execute("SELECT 'answered'")
        return True

    watch_statements()
    for name, listener in _LISTENERS.items():
        event.remove(sa.Engine, name, listener)
    event.listen(sa.Engine, "do_execute", answer)
    for name, listener in _LISTENERS.items():
        event.listen(sa.Engine, name, listener)
    try:
        with QueryCounter() as counter:
            assert select_twice(engine) == ["answered", "answered"]
    finally:
        event.remove(sa.Engine, "do_execute", answer)
    assert (counter.count, len(seen)) == (0, 2)


# Errors of the database


def test_an_error_of_the_database_goes_through_as_it_is() -> None:
    def errors(engine: sa.Engine) -> list[BaseException]:
        found: list[BaseException] = []
        with Session(engine) as session:
            for statement, parameters in [
                (sa.text("SELECT 1 FROM missing"), {}),
                (sa.text("SELECT :a"), {}),
                (sa.insert(User), {"id": 1, "name": "taken"}),
                (sa.insert(User), [{"id": 1, "name": "taken"}, {"id": 2, "name": "taken"}]),
            ]:
                with pytest.raises(sa.exc.SQLAlchemyError) as caught:
                    session.execute(statement, parameters)
                found.append(caught.value)
                session.rollback()
        return found

    with database() as engine:
        bare = errors(engine)
        with QueryCounter() as counter:
            watched = errors(engine)

    assert [(type(error), str(error)) for error in watched] == [
        (type(error), str(error)) for error in bare
    ]
    assert [type(error.__cause__) for error in watched] == [type(e.__cause__) for e in bare]
    # The one without its parameter never came to the driver.
    assert [query.error for query in counter.queries] == [
        "OperationalError",
        "IntegrityError",
        "IntegrityError",
    ]


def test_perfkit_on_a_database_that_is_gone() -> None:
    engine = sa.create_engine("sqlite:////nowhere/at/all.db")
    app = Flask("shop", root_path=".")
    PerfKit(app)

    @app.get("/")
    def show() -> str:
        with pytest.raises(sa.exc.OperationalError, match="unable to open"):
            engine.connect()
        return "sorry"

    with profiles(app) as collected:
        assert app.test_client().get("/").text == "sorry"
    assert collected[0].queries == ()
