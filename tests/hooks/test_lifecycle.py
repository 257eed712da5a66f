"""One request, one profile: however it begins, answers, streams, fails or is torn down."""

from __future__ import annotations

import contextvars
import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from archive import USERS, Document, archive, db, in_threads, names_of_owners, profiles
from flask import (
    Flask,
    Response,
    abort,
    copy_current_request_context,
    g,
    request,
    send_file,
    stream_with_context,
)
from flask.views import MethodView
from werkzeug.serving import make_server
from werkzeug.test import EnvironBuilder
from werkzeug.wsgi import FileWrapper

from flask_perfkit import Profile, QueryCounter
from flask_perfkit.hooks.requests import request_of
from flask_perfkit.recording.recorder import current


@pytest.fixture
def app() -> Iterator[Flask]:
    with archive() as app:
        yield app


@pytest.fixture
def testing_app() -> Iterator[Flask]:
    with archive(TESTING=True) as app:
        yield app


@pytest.fixture(autouse=True)
def nothing_leaks() -> Iterator[None]:
    assert current() is None
    yield
    assert current() is None


def ask(number: int = 1) -> str | None:
    return db.session.scalar(sa.select(Document.title).where(Document.id == number))


def ten_rows() -> Iterator[str]:
    for number in range(1, USERS + 1):
        yield f"{ask(number)}\n"


def only(collected: list[Profile]) -> Profile:
    assert len(collected) == 1
    return collected[0]


def kinds(profile: Profile) -> list[str]:
    return [finding.kind for finding in profile.findings]


# What a profile says


def test_a_request_is_described(app: Flask) -> None:
    @app.post("/users/<int:number>/documents")
    def add(number: int) -> tuple[str, int]:
        ask()
        return "", 201

    with profiles(app) as collected:
        app.test_client().post("/users/7/documents?token=secret", data="secret")

    profile = only(collected)
    assert (profile.endpoint, profile.rule) == ("add", "/users/<int:number>/documents")
    assert (profile.method, profile.path, profile.status) == ("POST", "/users/7/documents", 201)
    assert profile.query_count == len(profile.queries) == 1
    assert 0 < profile.sql_duration < profile.duration
    assert profile.started_at.tzinfo is not None
    assert "secret" not in repr(profile.to_dict())


def test_a_plain_request_is_profiled_too(app: Flask) -> None:
    app.add_url_rule("/", view_func=lambda: "ok")
    with profiles(app) as collected:
        app.test_client().get("/")
    profile = only(collected)
    assert (profile.status, profile.queries, profile.findings) == (200, (), ())


def test_a_slow_request_names_its_view() -> None:
    class Slow(MethodView):
        def get(self) -> str:
            return "ok"

    with archive(slow_request=1e-9) as app:
        app.add_url_rule("/", view_func=Slow.as_view("slow"))
        with profiles(app) as collected:
            app.test_client().get("/")

    (finding,) = only(collected).findings
    assert (finding.kind, finding.subject, finding.function) == ("slow_request", "slow", "get")
    assert finding.lineno == Slow.get.__code__.co_firstlineno


@pytest.mark.parametrize("length", [10, 100_000])
def test_long_texts_of_a_request_are_cut(app: Flask, length: int) -> None:
    app.add_url_rule("/<name>", view_func=lambda name: "ok")
    with profiles(app) as collected:
        app.test_client().open("/" + "x" * length, method="M" * length)
        app.test_client().get("/" + "x" * length)

    assert all(len(str(profile.path)) <= 200 for profile in collected)
    assert all(len(str(profile.method)) <= 20 for profile in collected)


# Contexts that requests share


def test_requests_in_one_application_context_are_apart(app: Flask) -> None:
    app.add_url_rule("/n", endpoint="names", view_func=names_of_owners)
    app.add_url_rule("/1", endpoint="one", view_func=lambda: str(ask()))

    with app.app_context(), profiles(app) as collected:
        g.anything = 1
        client = app.test_client()
        for path in ("/n", "/1", "/1"):
            client.get(path)
            db.session.expunge_all()

    assert [profile.query_count for profile in collected] == [11, 1, 1]
    assert [kinds(profile) for profile in collected] == [["n_plus_one"], [], []]


def test_a_client_that_keeps_the_context_reports_once(app: Flask) -> None:
    app.add_url_rule("/", view_func=lambda: names_of_owners())
    with profiles(app) as collected:
        with app.test_client() as client:
            client.get("/")
            assert request.path == "/"
            assert len(collected) == 1
            client.get("/")
            assert current() is None
        assert len(collected) == 2
    assert [profile.query_count for profile in collected] == [11, 11]


def test_statements_between_requests_belong_to_none(app: Flask) -> None:
    app.add_url_rule("/", view_func=lambda: str(ask()))
    with app.app_context(), profiles(app) as collected:
        app.test_client().get("/")
        ask()
        app.test_client().get("/")
    assert [profile.query_count for profile in collected] == [1, 1]


# Hooks


def test_an_earlier_hook_that_answers(app: Flask) -> None:
    @app.before_request
    def refuse() -> tuple[str, int]:
        ask()
        return "no", 403

    app.add_url_rule("/", view_func=lambda: "ok")
    with profiles(app) as collected:
        assert app.test_client().get("/").status_code == 403
    profile = only(collected)
    assert (profile.status, profile.endpoint, profile.query_count) == (403, "<lambda>", 1)


def test_an_earlier_hook_that_fails(app: Flask) -> None:
    @app.before_request
    def fail() -> None:
        ask()
        raise KeyError

    app.add_url_rule("/", view_func=lambda: "ok")
    with profiles(app) as collected:
        assert app.test_client().get("/").status_code == 500
    assert (only(collected).status, only(collected).query_count) == (500, 1)


def test_statements_of_every_hook_belong_to_the_request(app: Flask) -> None:
    app.before_request(lambda: (ask(1), None)[1])
    app.after_request(lambda response: (ask(2), response)[1])
    app.teardown_request(lambda error: (ask(3), None)[1])
    app.add_url_rule("/", view_func=lambda: str(ask(4)))
    with profiles(app) as collected:
        app.test_client().get("/")
    assert only(collected).query_count == 4


def test_a_teardown_that_fails(app: Flask) -> None:
    @app.teardown_request
    def fail(error: BaseException | None) -> None:
        raise KeyError("torn")

    app.add_url_rule("/", view_func=lambda: str(ask()))
    # Flask's next release raises a group of what all teardowns raised.
    with profiles(app) as collected, pytest.raises((KeyError, ExceptionGroup)):
        app.test_client().get("/")
    assert only(collected).query_count == 1


# Failures


def fail() -> str:
    names_of_owners()
    raise ZeroDivisionError("of the application")


def test_a_view_that_fails_in_production(app: Flask) -> None:
    app.add_url_rule("/", view_func=fail)
    with profiles(app) as collected:
        assert app.test_client().get("/").status_code == 500
    profile = only(collected)
    assert (profile.status, profile.endpoint, kinds(profile)) == (500, "fail", ["n_plus_one"])


@pytest.mark.parametrize("config", [{"TESTING": True}, {"PROPAGATE_EXCEPTIONS": True}], ids=repr)
def test_a_view_whose_error_is_passed_on(config: dict[str, Any]) -> None:
    with archive(**config) as app:
        app.add_url_rule("/", view_func=fail)
        with profiles(app) as collected, pytest.raises(ZeroDivisionError, match="of the app"):
            app.test_client().get("/")
    profile = only(collected)
    assert (profile.status, profile.endpoint, kinds(profile)) == (500, "fail", ["n_plus_one"])


def test_an_error_that_a_handler_answers(app: Flask) -> None:
    app.register_error_handler(ZeroDivisionError, lambda error: (str(ask()), 418))
    app.add_url_rule("/", view_func=fail)
    with profiles(app) as collected:
        assert app.test_client().get("/").status_code == 418
    assert (only(collected).status, only(collected).query_count) == (418, 12)


def test_an_error_handler_that_fails(app: Flask) -> None:
    @app.errorhandler(ZeroDivisionError)
    def handle(error: ZeroDivisionError) -> str:
        raise KeyError("in the handler")

    app.add_url_rule("/", view_func=fail)
    with profiles(app) as collected:
        assert app.test_client().get("/").status_code == 500
    assert only(collected).status == 500


def test_an_after_request_that_fails(app: Flask) -> None:
    @app.after_request
    def fail_after(response: Response) -> Response:
        raise KeyError

    app.add_url_rule("/", view_func=lambda: str(ask()))
    with profiles(app) as collected:
        assert app.test_client().get("/").status_code == 500
    assert (only(collected).status, only(collected).query_count) == (500, 1)


def test_an_interrupt_goes_through(app: Flask) -> None:
    @app.get("/")
    def interrupt() -> str:
        ask()
        raise KeyboardInterrupt

    with profiles(app) as collected, pytest.raises(KeyboardInterrupt):
        app.test_client().get("/")
    assert (only(collected).status, only(collected).query_count) == (500, 1)


def test_a_view_that_returns_nothing_fails_as_ever(testing_app: Flask) -> None:
    testing_app.add_url_rule("/", endpoint="none", view_func=lambda: None)
    with profiles(testing_app) as collected, pytest.raises(TypeError, match="valid response"):
        testing_app.test_client().get("/")
    assert only(collected).status == 500


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("POST", "/", 405), ("GET", "/slash", 308), ("OPTIONS", "/", 200)],
)
def test_what_the_router_answers(app: Flask, method: str, path: str, status: int) -> None:
    app.add_url_rule("/", view_func=lambda: "ok")
    app.add_url_rule("/slash/", endpoint="slash", view_func=lambda: "ok")
    with profiles(app) as collected:
        assert app.test_client().open(path, method=method).status_code == status
    profile = only(collected)
    assert (profile.status, profile.path, profile.method) == (status, path, method)


def test_a_view_that_aborts(app: Flask) -> None:
    app.add_url_rule("/", view_func=lambda: abort(404))
    with profiles(app) as collected:
        assert app.test_client().get("/").status_code == 404
    assert (only(collected).status, only(collected).rule) == (404, "/")


# Streams


def test_a_stream_with_context(app: Flask) -> None:
    app.add_url_rule("/", view_func=lambda: Response(stream_with_context(ten_rows())))
    with profiles(app) as collected:
        response = app.test_client().get("/")
        assert collected == []
        assert response.text.count("\n") == 10
        assert only(collected).query_count == 10
        response.close()
    assert kinds(only(collected)) == ["n_plus_one"]


def test_a_plain_generator(app: Flask) -> None:
    def rows() -> Iterator[str]:
        with app.app_context():
            yield from ten_rows()

    app.add_url_rule("/", view_func=lambda: Response(rows()))
    with profiles(app) as collected:
        assert app.test_client().get("/").text.count("\n") == 10
    assert (only(collected).status, only(collected).query_count) == (200, 10)


def test_statements_between_the_pieces_of_a_stream_belong_to_none(app: Flask) -> None:
    app.add_url_rule("/", view_func=lambda: Response(stream_with_context(ten_rows())))
    with profiles(app) as collected, app.app_context():
        for _ in app.test_client().get("/").iter_encoded():
            assert request_of(current()) is None
            ask()
    assert only(collected).query_count == 10


def test_a_stream_of_known_length_ends_with_its_last_byte(app: Flask) -> None:
    def rows() -> Iterator[str]:
        with app.app_context():
            yield f"{ask()}"[:5]
            yield f"{ask()}"[:5]

    @app.get("/")
    def show() -> Response:
        return Response(rows(), headers={"Content-Length": "10"})

    with profiles(app) as collected:
        response = app.test_client().get("/")
        pieces = response.iter_encoded()
        next(pieces)
        assert collected == []
        next(pieces)
        assert only(collected).query_count == 2
        response.close()
    only(collected)


def test_a_stream_that_fails(app: Flask) -> None:
    def rows() -> Iterator[str]:
        with app.app_context():
            yield f"{ask()}"
            raise ZeroDivisionError("in the stream")

    app.add_url_rule("/", view_func=lambda: Response(rows()))
    with profiles(app) as collected:
        response = app.test_client().get("/")
        with pytest.raises(ZeroDivisionError, match="in the stream"):
            _ = response.data
        response.close()
    assert only(collected).query_count == 1


def test_a_stream_that_nobody_reads_ends_when_it_is_closed(app: Flask) -> None:
    closed = []

    def rows() -> Iterator[str]:
        try:
            yield from ten_rows()
        finally:
            closed.append(ask())

    app.add_url_rule("/", view_func=lambda: Response(stream_with_context(rows())))
    with profiles(app) as collected:
        response = app.test_client().get("/")
        next(response.iter_encoded())
        assert collected == []
        response.close()
        assert only(collected).query_count == 2
        response.close()
    assert closed == ["document 1"]
    only(collected)


def test_a_file_like_body_is_closed_once(app: Flask) -> None:
    closed = []

    class Body(io.BytesIO):
        def close(self) -> None:
            closed.append(True)
            super().close()

    app.add_url_rule("/", view_func=lambda: Response(Body(b"text"), direct_passthrough=True))
    with profiles(app) as collected:
        response = app.test_client().get("/")
        assert response.data == b"text"
        response.close()
    only(collected)
    assert closed == [True]


def test_pieces_that_are_made_in_other_contexts(app: Flask) -> None:
    """As an ASGI server may do: each step of the body has a context of its own."""
    with app.app_context():
        engine = db.engine

    def rows() -> Iterator[bytes]:
        with engine.connect() as connection:
            for number in range(10):
                connection.exec_driver_sql("SELECT name FROM user WHERE id = ?", (number,))
                yield b"row"

    app.add_url_rule("/", view_func=lambda: Response(rows()))
    pieces = []
    with profiles(app) as collected:
        start = contextvars.copy_context()
        body = start.run(app.wsgi_app, environ_of("/"), lambda *_: lambda _: None)
        steps = iter(body)
        while piece := contextvars.copy_context().run(next, steps, None):
            pieces.append(piece)
            assert current() is None
        contextvars.Context().run(body.close)  # type: ignore[attr-defined]
    assert len(pieces) == 10
    assert (only(collected).query_count, kinds(only(collected))) == (10, ["n_plus_one"])


# Bodies that are not made


@pytest.mark.parametrize("read", [True, False], ids=["read", "left"])
def test_the_head_of_a_stream_is_over_at_once(app: Flask, read: bool) -> None:
    app.add_url_rule("/", view_func=lambda: Response(stream_with_context(ten_rows())))
    with profiles(app) as collected:
        response = app.test_client().head("/")
        assert response.status_code == 200
        if read:
            assert response.data == b""
        assert only(collected).status == 200
        response.close()
    assert only(collected).query_count == 0


def test_a_file_that_was_not_modified_is_over_at_once(app: Flask, tmp_path: Path) -> None:
    path = tmp_path / "file.txt"
    path.write_text("text")
    app.add_url_rule("/", view_func=lambda: send_file(path))
    with profiles(app) as collected:
        first = app.test_client().get("/")
        assert first.text == "text"
        first.close()
        etag = first.headers["ETag"]
        second = app.test_client().get("/", headers={"If-None-Match": etag})
        assert second.status_code == 304
        assert [profile.status for profile in collected] == [200, 304]
        second.close()


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_file_reaches_the_server_as_its_own_wrapper(
    app: Flask, tmp_path: Path, wrapped: bool
) -> None:
    path = tmp_path / "file.txt"
    path.write_text("text" * 10_000)
    app.add_url_rule("/", view_func=lambda: (ask(), send_file(path))[1])
    environ = environ_of("/")
    if wrapped:
        environ["wsgi.file_wrapper"] = FileWrapper
    with profiles(app) as collected:
        body = app.wsgi_app(environ, lambda *_: lambda _: None)
        if wrapped:
            assert type(body) is FileWrapper
        assert b"".join(body) == b"text" * 10_000
        body.close()  # type: ignore[attr-defined]
    assert (only(collected).status, only(collected).query_count) == (200, 1)


def test_a_response_that_is_never_closed(app: Flask) -> None:
    app.add_url_rule("/", view_func=lambda: names_of_owners())
    with profiles(app) as collected:
        app.test_client().get("/")
        assert kinds(only(collected)) == ["n_plus_one"]


# Requests inside of others, threads


def test_a_client_call_inside_a_view(app: Flask) -> None:
    @app.get("/outer")
    def outer() -> str:
        ask()
        text = app.test_client().get("/inner").text
        ask()
        return text

    app.add_url_rule("/inner", endpoint="inner", view_func=lambda: str(ask()))
    with profiles(app) as collected:
        assert app.test_client().get("/outer").text == "document 1"

    inner, outer_profile = collected
    assert (inner.endpoint, inner.query_count) == ("inner", 1)
    assert (outer_profile.endpoint, outer_profile.query_count) == ("outer", 3)
    assert (outer_profile.path, outer_profile.status) == ("/outer", 200)


def test_a_view_that_counts_its_own_statements(app: Flask) -> None:
    counts = []

    @app.get("/")
    def show() -> str:
        with QueryCounter() as counter:
            ask()
        counts.append(counter.count)
        return str(ask())

    with profiles(app) as collected:
        app.test_client().get("/")
    assert counts == [1]
    assert only(collected).query_count == 2


def test_a_counter_that_spans_the_hooks_of_a_request(app: Flask) -> None:
    @app.before_request
    def begin() -> None:
        g.counter = QueryCounter().__enter__()

    @app.teardown_request
    def end(error: BaseException | None) -> None:
        g.counter.__exit__(None, None, None)
        counts.append(g.counter.count)

    counts: list[int] = []
    app.add_url_rule("/", endpoint="view", view_func=lambda: str(ask()))
    with profiles(app) as collected:
        assert app.test_client().get("/").status_code == 200

    assert counts == [1]
    profile = only(collected)
    assert (profile.endpoint, profile.status, profile.query_count) == ("view", 200, 1)


def test_a_counter_inside_of_a_stream_harms_nothing(app: Flask) -> None:
    def rows() -> Iterator[str]:
        with QueryCounter():
            yield from ten_rows()

    app.add_url_rule("/", view_func=lambda: Response(stream_with_context(rows())))
    with profiles(app) as collected:
        assert app.test_client().get("/").text.count("\n") == 10
    assert only(collected).query_count == 10


def test_a_thread_with_the_copied_context_counts(tmp_path: Path) -> None:
    with archive(SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path / 'a.db'}") as app:

        def work() -> None:
            with app.app_context():
                ask()

        app.add_url_rule("/", view_func=lambda: (in_threads(work, work), "ok")[1])
        with profiles(app) as collected:
            app.test_client().get("/")
    assert only(collected).query_count == 2


def test_a_thread_with_the_copied_request_works(tmp_path: Path) -> None:
    """Flask copies the request only: what the thread asks for is work of its own."""
    with archive(SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path / 'a.db'}") as app:
        seen = []

        @app.get("/")
        def show() -> str:
            @copy_current_request_context
            def work() -> None:
                seen.append((request.path, ask()))

            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
            return str(ask())

        with profiles(app) as collected:
            assert app.test_client().get("/").text == "document 1"
    assert seen == [("/", "document 1")]
    assert [(profile.endpoint, profile.method, profile.query_count) for profile in collected] == [
        ("work", "JOB", 1),
        ("show", "GET", 1),
    ]


def test_a_thread_that_outlives_its_request(tmp_path: Path) -> None:
    with archive(SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path / 'a.db'}") as app:
        answered, done = threading.Event(), []

        def work() -> None:
            answered.wait(60)
            with app.app_context():
                for number in range(1, 8):
                    done.append(ask(number))

        @app.get("/")
        def show() -> str:
            thread = threading.Thread(target=contextvars.copy_context().run, args=(work,))
            thread.start()
            threads.append(thread)
            return str(ask())

        threads: list[threading.Thread] = []
        with profiles(app) as collected:
            app.test_client().get("/")
            answered.set()
            threads[0].join(60)
        assert len(done) == 7
        assert [(each.endpoint, each.query_count) for each in collected] == [
            ("show", 1),
            ("work", 7),
        ]


def test_requests_in_many_threads_are_apart(tmp_path: Path) -> None:
    with archive(SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path / 'a.db'}") as app:

        @app.get("/<int:times>")
        def show(times: int) -> str:
            for number in range(times):
                ask(number)
            return "ok"

        def work(times: int) -> Callable[[], None]:
            return lambda: [app.test_client().get(f"/{times}") for _ in range(5)] and None

        with profiles(app) as collected:
            in_threads(*[work(times) for times in range(1, 5)])
    assert {profile.path: profile.query_count for profile in collected} == {
        f"/{times}": times for times in range(1, 5)
    }
    assert len(collected) == 20


def test_an_async_view(app: Flask) -> None:
    @app.get("/")
    async def show() -> dict[str, list[str]]:
        return {"names": names_of_owners()}

    with profiles(app) as collected:
        assert app.test_client().get("/").status_code == 200
    assert (only(collected).query_count, kinds(only(collected))) == (11, ["n_plus_one"])


# A real server


@contextmanager
def served(app: Flask) -> Iterator[tuple[str, int]]:
    """Serve an application on the loopback address."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield "127.0.0.1", server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def fetch(address: tuple[str, int], path: str, method: str = "GET") -> tuple[int, bytes]:
    connection = HTTPConnection(*address, timeout=10)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until a thread of the server has come that far."""
    end = time.monotonic() + 10
    while not condition() and time.monotonic() < end:
        time.sleep(0.005)


@pytest.fixture
def file_app(tmp_path: Path) -> Iterator[Flask]:
    with archive(SQLALCHEMY_DATABASE_URI=f"sqlite:///{tmp_path / 'a.db'}") as app:
        yield app


def test_requests_to_a_real_server(file_app: Flask, tmp_path: Path) -> None:
    (tmp_path / "file.txt").write_text("text")
    views: dict[str, Callable[[], Any]] = {
        "n": names_of_owners,
        "f": lambda: send_file(tmp_path / "file.txt"),
        "s": lambda: Response(stream_with_context(ten_rows())),
        "e": fail,
    }
    for name, view in views.items():
        file_app.add_url_rule(f"/{name}", endpoint=name, view_func=view)

    with profiles(file_app) as collected, served(file_app) as address:
        asked = [("GET", "/n"), ("GET", "/f"), ("GET", "/s"), ("GET", "/e"), ("HEAD", "/s")]
        statuses = [fetch(address, path, method)[0] for method, path in asked]
        wait_for(lambda: len(collected) == 5)

    assert statuses == [200, 200, 200, 500, 200]
    seen = [(profile.path, profile.status, profile.query_count) for profile in collected]
    assert sorted(seen, key=str) == [
        ("/e", 500, 11),
        ("/f", 200, 0),
        ("/n", 200, 11),
        ("/s", 200, 0),
        ("/s", 200, 10),
    ]


def test_a_reader_that_goes_away(file_app: Flask) -> None:
    def rows() -> Iterator[bytes]:
        while True:
            yield b"x" * 100_000

    file_app.add_url_rule("/", view_func=lambda: Response(rows()))
    with profiles(file_app) as collected, served(file_app) as address:
        connection = HTTPConnection(*address, timeout=10)
        connection.request("GET", "/")
        connection.getresponse().read(10)
        connection.close()
        wait_for(lambda: len(collected) == 1)
    assert only(collected).status == 200


def environ_of(path: str) -> dict[str, Any]:
    builder = EnvironBuilder(path)
    try:
        return builder.get_environ()
    finally:
        builder.close()
