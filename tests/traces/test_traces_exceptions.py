"""Exceptions on spans, and requests that are under way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from archive import archive, db
from flask import Flask, Response, abort
from opentelemetry.trace import StatusCode
from traced import Points, Spans

SECRET = "hunter2"


class Unpaid(Exception):
    """An error of the application's own."""


def charge() -> None:
    try:
        int(SECRET)
    except ValueError as error:
        raise Unpaid(f"no money: {SECRET}") from error


def fail() -> str:
    charge()
    return "unreachable"


def exceptions(span: Any) -> list[dict[str, Any]]:
    return [dict(event.attributes) for event in span.events if event.name == "exception"]


def ask(app: Flask, path: str) -> int:
    app.config["PROPAGATE_EXCEPTIONS"] = False
    return app.test_client().get(path).status_code


def test_an_error_that_nobody_handles_is_an_event_without_its_message(
    app: Flask, spans: Spans
) -> None:
    app.add_url_rule("/fail", view_func=fail)
    assert ask(app, "/fail") == 500
    (span,) = spans()
    (event,) = exceptions(span)
    assert set(event) == {"exception.type", "exception.stacktrace"}
    assert event["exception.type"] == span.attributes["error.type"] == f"{__name__}.Unpaid"
    stack = event["exception.stacktrace"]
    assert stack.count("Traceback (most recent call last):") == 2
    cause, effect = stack.split("ValueError")
    assert "in charge" in cause
    assert effect.index("in fail") < effect.index("in charge") < effect.index("Unpaid")
    assert SECRET not in str(event)
    assert span.status.status_code is StatusCode.ERROR


def test_the_message_is_there_where_that_is_told(spans: Spans) -> None:
    with archive(traces=True, traces_messages=True) as app:
        app.add_url_rule("/fail", view_func=fail)
        ask(app, "/fail")
    (span,) = spans()
    (event,) = exceptions(span)
    assert event["exception.message"] == f"no money: {SECRET}"
    assert event["exception.stacktrace"].rstrip().endswith(f"Unpaid: no money: {SECRET}")


def test_an_error_that_goes_on_to_the_server_is_one_event(app: Flask, spans: Spans) -> None:
    app.config["PROPAGATE_EXCEPTIONS"] = True
    app.add_url_rule("/fail", view_func=fail)
    with pytest.raises(Unpaid):
        app.test_client().get("/fail")
    (span,) = spans()
    assert len(exceptions(span)) == 1


def test_what_is_handled_is_no_event(app: Flask, spans: Spans) -> None:
    app.register_error_handler(Unpaid, lambda error: ("pay first", 402))
    app.add_url_rule("/fail", view_func=fail)
    app.add_url_rule("/gone", view_func=lambda: abort(410))
    assert (ask(app, "/fail"), ask(app, "/gone")) == (402, 410)
    assert [exceptions(span) for span in spans()] == [[], []]


def test_an_error_in_a_body_is_an_event(app: Flask, spans: Spans) -> None:
    def body() -> Iterator[str]:
        yield "beginning"
        raise Unpaid

    app.add_url_rule("/stream", view_func=lambda: Response(body()))
    with pytest.raises(Unpaid):
        _ = app.test_client().get("/stream").data
    (span,) = spans()
    assert [event["exception.type"] for event in exceptions(span)] == [f"{__name__}.Unpaid"]


def test_a_statement_that_fails_says_so_without_its_values(app: Flask, spans: Spans) -> None:
    def view() -> str:
        try:
            db.session.execute(sa.text("SELECT :secret FROM nowhere"), {"secret": SECRET})
        except sa.exc.OperationalError:
            return "recovered"
        return "unreachable"

    app.add_url_rule("/broken", view_func=view)
    assert ask(app, "/broken") == 200
    request, statement = spans()
    assert exceptions(request) == []
    (event,) = exceptions(statement)
    assert event["exception.type"] == "sqlite3.OperationalError"
    assert "nowhere" not in str(event)
    assert SECRET not in str(event)


def active(points: Points) -> dict[tuple[str, str], int]:
    return {
        (point.attributes["http.request.method"], point.attributes["url.scheme"]): point.value
        for point in points("http.server.active_requests")
    }


def test_requests_under_way_are_measured_until_their_body_is_over(
    app: Flask, points: Points
) -> None:
    during = []

    def body() -> Iterator[str]:
        during.append(active(points)["GET", "https"])
        yield "."

    app.add_url_rule("/stream", view_func=lambda: Response(body()))
    app.add_url_rule("/fail", view_func=fail)
    client = app.test_client()
    before = active(points).get(("GET", "https"), 0)
    client.get("/stream", base_url="https://localhost").close()
    app.config["PROPAGATE_EXCEPTIONS"] = True
    with pytest.raises(Unpaid):
        client.get("/fail", base_url="https://localhost")
    assert during == [before + 1]
    assert active(points)["GET", "https"] == before
