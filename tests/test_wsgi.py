"""The edge: what stands in its place is not hidden, and what the server is told counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from archive import User, archive, db, profiles
from flask import Flask, Response, request
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.test import Client, EnvironBuilder

from flask_perfkit import PerfKit, Profile, QueryCounter
from flask_perfkit.alerts import P95


class Banner:
    """A middleware that answers some paths by itself, and has attributes of its own."""

    greeting = "hello"

    def __init__(self, app: Any) -> None:
        self.app = app
        self.asked = 0

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        self.asked += 1
        if environ["PATH_INFO"] == "/banner":
            start_response("200 OK", [("Content-Length", "6")])
            return [b"banner"]
        if environ["PATH_INFO"] == "/hidden":
            return self._hidden(environ, start_response)
        body: Iterable[bytes] = self.app(environ, start_response)
        return body

    def _hidden(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        """Ask the application, and answer something else."""
        list(self.app(environ, lambda *answer: print))
        start_response("403 FORBIDDEN", [])
        return [b"no"]

    def reset(self) -> None:
        self.asked = 0


@pytest.fixture
def app() -> Iterator[Flask]:
    with archive(perfkit=False) as app:
        app.wsgi_app = Banner(app.wsgi_app)  # type: ignore[method-assign]
        app.add_url_rule("/greeting", "greeting", lambda: app.wsgi_app.greeting)  # type: ignore[attr-defined]
        app.add_url_rule("/hidden", "hidden", lambda: "hidden")
        yield app


def test_a_view_reads_an_attribute_of_its_own_middleware(app: Flask) -> None:
    PerfKit(app)
    assert app.test_client().get("/greeting").text == "hello"
    assert app.wsgi_app.asked == 1  # type: ignore[attr-defined]


def test_what_is_set_and_called_on_the_middleware_arrives(app: Flask) -> None:
    middleware: Any = app.wsgi_app
    PerfKit(app)
    edge: Any = app.wsgi_app
    edge.greeting = "welcome"
    assert middleware.greeting == "welcome"
    app.test_client().get("/greeting")
    edge.reset()
    assert middleware.asked == 0
    del edge.greeting
    assert edge.greeting == "hello"
    assert "reset" in dir(edge)
    with pytest.raises(AttributeError, match="'Banner' object has no attribute 'nothing'"):
        _ = edge.nothing


def test_the_application_s_own_method_keeps_its_surface() -> None:
    with archive() as app:
        edge: Any = app.wsgi_app
        assert edge.__self__ is app
        assert edge.__func__ is Flask.wsgi_app
        assert edge.__name__ == "wsgi_app"


def seen_of(app: Flask, path: str) -> Profile:
    with profiles(app) as seen:
        app.test_client().get(path)
    (profile,) = seen
    return profile


def test_a_middleware_that_answers_by_itself_is_no_failure(app: Flask) -> None:
    PerfKit(app)
    profile = seen_of(app, "/banner")
    assert (profile.status, profile.path, profile.endpoint) == (200, "/banner", None)


def test_the_status_is_the_one_that_the_server_was_told(app: Flask) -> None:
    PerfKit(app)
    assert app.test_client().get("/hidden").text == "no"
    assert seen_of(app, "/hidden").status == 403


def test_what_a_middleware_answers_is_counted(app: Flask) -> None:
    app.config["PERFKIT_METRICS_PATH"] = "/metrics"
    PerfKit(app)
    client = app.test_client()

    def count(route: str, status: str) -> float:
        name = f'http_requests_total{{method="GET",route="{route}",status="{status}"}} '
        lines = client.get("/metrics").text.splitlines()
        return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))

    answers = ("unmatched", "200"), ("/hidden", "403")
    before = [count(*answer) for answer in answers]  # the figures are those of the process
    client.get("/banner")
    client.get("/hidden")
    assert [count(*answer) for answer in answers] == [number + 1 for number in before]


def test_a_path_that_is_no_text_is_shown_all_the_same(app: Flask) -> None:
    PerfKit(app)
    app.wsgi_app.app = lambda environ, start: (start("404 NOT FOUND", []) and []) or []  # type: ignore[attr-defined]
    environ = EnvironBuilder("/").get_environ()
    environ["PATH_INFO"] = "/caf\xe9"  # a byte that is no UTF-8
    with profiles(app) as seen:
        Client(app).open(EnvironBuilder.from_environ(environ))
    assert seen[0].path is not None
    assert seen[0].path.startswith("/caf")


@pytest.mark.parametrize("middleware", [True, False])
def test_a_server_s_stream_is_over_when_it_is_closed(middleware: bool) -> None:
    with archive(perfkit=False) as app:
        if middleware:
            app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]
        PerfKit(app)

        def stream() -> Response:
            response = Response(iter(["a", "b"]))
            response.call_on_close(lambda: db.session.scalars(sa.select(User)).all())
            return response

        app.add_url_rule("/stream", view_func=stream)
        environ = EnvironBuilder("/stream", environ_overrides={"SERVER_SOFTWARE": "t"})
        with profiles(app) as seen, app.app_context():
            body: Any = app(environ.get_environ(), lambda *answer: print)  # type: ignore[arg-type, return-value]
            assert list(body) == [b"a", b"b"]
            assert not seen
            body.close()
    (profile,) = seen
    assert len(profile.queries) == 1


@pytest.mark.parametrize("metrics", [None, "/metrics"])
def test_a_request_that_is_not_sampled_leaves_its_statements_to_the_block_around(
    metrics: str | None,
) -> None:
    with archive(perfkit=False) as app:
        app.config.update(PERFKIT_SAMPLE_RATE=0.0, PERFKIT_METRICS_PATH=metrics)
        PerfKit(app).alert(when=P95(over=10), then=print)

        def users() -> str:
            return f"{len(db.session.scalars(sa.select(User)).all())} {request.path}"

        app.add_url_rule("/users", view_func=users)
        with QueryCounter() as counter:
            app.test_client().get("/users")
    assert counter.count == 1
