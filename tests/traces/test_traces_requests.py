"""The span of a request: what it says, when it begins and when it ends."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from archive import archive, names_of_owners
from flask import Flask, Response, abort, request, send_file, stream_with_context
from opentelemetry import propagate, trace
from opentelemetry.trace import SpanKind, StatusCode
from traced import Points, Spans
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client, EnvironBuilder
from werkzeug.wsgi import FileWrapper

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = {"traceparent": f"00-{TRACE}-{PARENT}-01"}


def attributes(span: Any) -> dict[str, Any]:
    return dict(span.attributes)


def test_a_request_is_a_server_span(app: Flask, spans: Spans) -> None:
    app.add_url_rule("/users/<int:number>", view_func=lambda number: str(number))
    app.test_client().get(
        "/users/7?token=hunter2",
        base_url="https://shop.example:8443",
        headers={"User-Agent": "test"},
    )
    (span,) = spans()
    assert (span.name, span.kind) == ("GET /users/<int:number>", SpanKind.SERVER)
    assert span.status.status_code is StatusCode.UNSET
    assert attributes(span) == {
        "http.request.method": "GET",
        "http.route": "/users/<int:number>",
        "http.response.status_code": 200,
        "url.path": "/users/7",
        "url.scheme": "https",
        "server.address": "shop.example",
        "server.port": 8443,
        "client.address": "127.0.0.1",
        "user_agent.original": "test",
    }


@pytest.mark.parametrize(
    ("host", "address", "port"),
    [("shop", "shop", None), ("[::1]:5000", "[::1]", 5000), ("[::1]", "[::1]", None)],
)
def test_the_address_is_that_of_the_host_header(
    app: Flask, spans: Spans, host: str, address: str, port: int | None
) -> None:
    app.test_client().get("/", headers={"Host": host})
    (span,) = spans()
    assert (attributes(span)["server.address"], attributes(span).get("server.port")) == (
        address,
        port,
    )


def test_an_unknown_path_has_no_route_in_its_name(app: Flask, spans: Spans) -> None:
    app.test_client().get("/no/such/pagé")
    (span,) = spans()
    assert span.name == "GET"
    assert attributes(span)["http.response.status_code"] == 404
    assert attributes(span)["url.path"] == "/no/such/pag%C3%A9"
    assert "http.route" not in attributes(span)
    assert span.status.status_code is StatusCode.UNSET


def test_a_made_up_method_is_other(app: Flask, spans: Spans) -> None:
    app.add_url_rule("/any", view_func=lambda: "ok", methods=["BREW"])
    app.test_client().open("/any", method="BREW")
    app.test_client().open("/any", method="B" * 1_000)
    known, unknown = spans()
    assert known.name == "HTTP /any"
    assert attributes(known)["http.request.method"] == "_OTHER"
    assert attributes(known)["http.request.method_original"] == "BREW"
    assert attributes(unknown)["http.request.method_original"] == "B" * 20


@pytest.mark.parametrize("testing", [False, True])
def test_an_error_is_told_by_its_class_alone(spans: Spans, testing: bool) -> None:
    with archive(traces=True, TESTING=testing) as app:

        @app.get("/fails")
        def fails() -> str:
            raise LookupError("hunter2")

        client = app.test_client()
        if testing:
            with pytest.raises(LookupError):
                client.get("/fails")
        else:
            assert client.get("/fails").status_code == 500
    (span,) = spans()
    assert span.name == "GET /fails"
    assert attributes(span)["error.type"] == "LookupError"
    assert span.status.status_code is StatusCode.ERROR
    assert "hunter2" not in span.to_json()


def test_an_answer_of_the_server_s_own_fault_is_an_error(app: Flask, spans: Spans) -> None:
    app.add_url_rule("/busy", view_func=lambda: abort(503))
    app.test_client().get("/busy")
    (span,) = spans()
    assert attributes(span)["error.type"] == "503"
    assert span.status.status_code is StatusCode.ERROR


def test_the_route_has_the_prefix_of_the_mount(app: Flask, spans: Spans) -> None:
    app.add_url_rule("/users", view_func=lambda: "ok")
    mounted = DispatcherMiddleware(Flask("outer"), {"/shop": app})
    Client(mounted).get("/shop/users")
    (span,) = spans()
    assert span.name == "GET /shop/users"
    assert attributes(span)["url.path"] == "/shop/users"


def test_the_trace_goes_on_from_the_caller_to_whom_the_view_calls(app: Flask, spans: Spans) -> None:
    sent: dict[str, str] = {}
    app.add_url_rule("/", view_func=lambda: propagate.inject(sent) or "ok")
    app.test_client().get("/", headers=TRACEPARENT)
    (span,) = spans()
    assert span.context is not None
    assert span.parent is not None
    assert f"{span.context.trace_id:032x}" == TRACE
    assert f"{span.parent.span_id:016x}" == PARENT
    assert sent["traceparent"] == f"00-{TRACE}-{span.context.span_id:016x}-01"


def test_an_asynchronous_view_runs_in_the_span(app: Flask, spans: Spans) -> None:
    seen = []

    @app.get("/async")
    async def view() -> str:
        seen.append(trace.get_current_span().get_span_context())
        return str(names_of_owners())

    app.test_client().get("/async")
    server, *statements = spans()
    assert seen == [server.context]
    assert len(statements) == 11
    assert all(span.parent == server.context for span in statements)


def test_the_caller_s_decision_not_to_sample_holds(app: Flask, spans: Spans) -> None:
    app.add_url_rule("/", view_func=lambda: str(names_of_owners()))
    app.test_client().get("/", headers={"traceparent": f"00-{TRACE}-{PARENT}-00"})
    assert spans() == []


def test_a_request_from_within_the_process_is_a_part_of_its_span(app: Flask, spans: Spans) -> None:
    app.add_url_rule("/inner", view_func=lambda: "ok")
    app.add_url_rule("/outer", "outer", lambda: app.test_client().get("/inner").text)
    app.test_client().get("/outer", headers=TRACEPARENT)
    outer, inner = spans()
    assert (outer.kind, inner.kind) == (SpanKind.SERVER, SpanKind.INTERNAL)
    assert inner.parent == outer.context


def served(app: Flask, path: str, **environ: Any) -> Any:
    """Return the body as a server gets it."""
    builder = EnvironBuilder(path, environ_overrides={"SERVER_SOFTWARE": "test", **environ})
    return app(builder.get_environ(), lambda status, headers, exc_info=None: print)  # type: ignore[arg-type]


def test_a_stream_s_span_ends_with_the_body(app: Flask, spans: Spans) -> None:
    def rows() -> Iterator[str]:
        yield "a"
        names_of_owners()
        yield "b"

    app.add_url_rule("/stream", view_func=lambda: Response(stream_with_context(rows())))
    body = served(app, "/stream")
    assert next(body) == b"a"
    assert spans() == []
    assert list(body) == [b"b"]
    body.close()
    server, *statements = spans()
    assert server.name == "GET /stream"
    assert all(span.parent == server.context for span in statements)
    assert len(statements) == 11
    assert [event.name for event in server.events] == ["perfkit.finding"]
    assert not trace.get_current_span().is_recording()


def test_a_stream_that_is_left_ends_its_span_once(app: Flask, spans: Spans) -> None:
    app.add_url_rule("/stream", view_func=lambda: Response(iter("abc")))
    body = served(app, "/stream")
    next(body)
    body.close()
    body.close()
    (span,) = spans()
    assert "error.type" not in attributes(span)


def test_a_stream_that_fails_is_an_error(app: Flask, spans: Spans) -> None:
    def rows() -> Iterator[str]:
        yield "a"
        raise LookupError

    app.add_url_rule("/stream", view_func=lambda: Response(rows()))
    body = served(app, "/stream")
    with pytest.raises(LookupError):
        list(body)
    body.close()
    (span,) = spans()
    assert attributes(span)["error.type"] == "LookupError"


def test_a_file_is_left_to_the_server(app: Flask, spans: Spans) -> None:
    app.add_url_rule("/file", view_func=lambda: send_file(BytesIO(b"abc"), mimetype="text/plain"))
    body = served(app, "/file", **{"wsgi.file_wrapper": FileWrapper})
    assert isinstance(body, FileWrapper)
    assert [span.name for span in spans()] == ["GET /file"]


def test_a_plain_answer_s_span_ends_with_its_findings(app: Flask, spans: Spans) -> None:
    app.add_url_rule("/owners", view_func=lambda: str(names_of_owners()))
    body = served(app, "/owners")
    list(body)
    body.close()
    (server, *_) = spans()
    assert [event.name for event in server.events] == ["perfkit.finding"]


def test_requests_are_measured_by_route(app: Flask, spans: Spans, points: Points) -> None:
    app.add_url_rule("/measured/<name>", view_func=lambda name: name)
    for name in "abc":
        app.test_client().get(f"/measured/{name}")
    (point,) = (
        point
        for point in points("http.server.request.duration")
        if point.attributes.get("http.route") == "/measured/<name>"
    )
    assert point.count == 3
    assert dict(point.attributes) == {
        "http.request.method": "GET",
        "http.route": "/measured/<name>",
        "http.response.status_code": 200,
        "url.scheme": "http",
    }


def test_what_cannot_be_traced_is_answered_all_the_same(
    app: Flask, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    app.add_url_rule("/", view_func=lambda: request.path)
    monkeypatch.setattr("flask_perfkit.traces.requests.tracer", None)
    for _ in range(2):
        assert app.test_client().get("/").text == "/"
    (record,) = caplog.records
    assert record.getMessage().startswith(
        "PerfKit carries on, no request is affected: beginning to take part in a request failed"
    )


def test_an_application_that_does_not_trace_has_no_span(app: Flask, spans: Spans) -> None:
    with archive() as silent:
        silent.add_url_rule("/", view_func=lambda: str(names_of_owners()))
        assert silent.test_client().get("/").status_code == 200
    assert spans() == []
