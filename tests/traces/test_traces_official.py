"""Beside the official instrumentations, whichever was set up first: nothing is there twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import flask
import pytest
from archive import archive, db, names_of_owners
from flask import Flask
from opentelemetry.instrumentation.flask import FlaskInstrumentor
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware
from opentelemetry.trace import SpanKind
from traced import Points, Spans

from flask_perfkit import PerfKit

FLASK, SQLALCHEMY, PERFKIT = "flask", "sqlalchemy", "perfkit"
ORDERS = [
    (PERFKIT, FLASK, SQLALCHEMY),
    (FLASK, SQLALCHEMY, PERFKIT),
    (FLASK, PERFKIT, SQLALCHEMY),
    (PERFKIT, FLASK),
    (FLASK, PERFKIT),
    (PERFKIT, SQLALCHEMY),
    (SQLALCHEMY, PERFKIT),
]


def set_up_flask(app: Flask) -> None:
    FlaskInstrumentor().instrument_app(app)


def set_up_sqlalchemy(app: Flask) -> None:
    with app.app_context():
        SQLAlchemyInstrumentor().instrument(engine=db.engine)


def set_up_perfkit(app: Flask) -> None:
    PerfKit(app)


SET_UP: dict[str, Callable[[Flask], None]] = {
    FLASK: set_up_flask,
    SQLALCHEMY: set_up_sqlalchemy,
    PERFKIT: set_up_perfkit,
}


@contextmanager
def instrumented(order: tuple[str, ...]) -> Iterator[Flask]:
    with archive(perfkit=False, traces=True) as app:
        for each in order:
            SET_UP[each](app)
        app.add_url_rule("/owners", view_func=lambda: str(names_of_owners()))
        try:
            yield app
        finally:
            if FLASK in order:
                FlaskInstrumentor.uninstrument_app(app)
            if SQLALCHEMY in order:
                SQLAlchemyInstrumentor().uninstrument()


@pytest.mark.parametrize("order", ORDERS, ids=" ".join)
def test_one_span_each(order: tuple[str, ...], spans: Spans) -> None:
    with instrumented(order) as app:
        assert app.test_client().get("/owners").status_code == 200
    (server,) = (span for span in spans() if span.kind is SpanKind.SERVER)
    selects = [
        span for span in spans() if span.kind is SpanKind.CLIENT and span.name.startswith("SELECT")
    ]
    assert len(selects) == 11
    assert all(span.parent == server.context for span in selects)
    scope = server.instrumentation_scope
    assert scope is not None
    assert (scope.name == "flask_perfkit") is (FLASK not in order)
    assert [event.name for event in server.events] == ["perfkit.finding"]


def test_requests_are_measured_once(spans: Spans, points: Points) -> None:
    def count() -> int:
        return sum(
            point.count
            for point in points("http.server.request.duration")
            if point.attributes.get("http.route") == "/owners"
        )

    with instrumented((PERFKIT, FLASK)) as app:
        before = count()
        app.test_client().get("/owners")
        assert count() == before


def test_every_new_application_instrumented(spans: Spans) -> None:
    """As ``opentelemetry-instrument`` does it: in the place of the class."""
    FlaskInstrumentor().instrument()
    try:
        app = flask.Flask("shop")
        app.config["PERFKIT_TRACES"] = True
        PerfKit(app)
        app.add_url_rule("/", view_func=lambda: "ok")
        app.test_client().get("/")
    finally:
        FlaskInstrumentor().uninstrument()
    assert len(spans()) == 1


@pytest.mark.parametrize("server", [{}, {"SERVER_SOFTWARE": "test"}], ids=["client", "server"])
def test_the_wsgi_middleware_around_the_application(spans: Spans, server: dict[str, str]) -> None:
    with archive(traces=True) as app:
        app.add_url_rule("/owners", view_func=lambda: str(names_of_owners()))
        middleware = OpenTelemetryMiddleware(app.wsgi_app)
        app.wsgi_app = middleware  # type: ignore[method-assign]
        client = app.test_client()
        with client.get("/owners", environ_overrides=server) as response:
            assert len(response.data) > 0
    (span,) = (span for span in spans() if span.kind is SpanKind.SERVER)
    assert [event.name for event in span.events] == ["perfkit.finding"]
