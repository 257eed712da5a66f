"""A span for each request, from the WSGI edge to the end of the response's body."""

from __future__ import annotations

from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from flask import got_request_exception, request
from opentelemetry import propagate, trace
from opentelemetry.context import Context, attach, detach, get_current
from opentelemetry.propagators.textmap import Getter
from opentelemetry.trace import SpanKind, StatusCode

from flask_perfkit.faults import log_once
from flask_perfkit.recording.methods import METHODS, OTHER_METHOD
from flask_perfkit.traces.exceptions import add_exception
from flask_perfkit.traces.foreign import has_flask_instrumentation
from flask_perfkit.traces.telemetry import (
    DURATION_BOUNDARIES,
    SCOPE,
    error_type,
    meter,
    send_by_otlp,
    tracer,
)

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment
    from flask import Flask

_ENVIRON_KEY = "flask_perfkit.span"
_LONGEST_METHOD = 20
_LONGEST_TEXT = 1_000
_SERVER_ERROR = 500
_SAFE_IN_PATH = "/:@!$&'()*+,;=~%-._"

_active = meter.create_up_down_counter(
    "http.server.active_requests",
    unit="{request}",
    description="Number of active HTTP server requests.",
)
_duration = meter.create_histogram(
    "http.server.request.duration",
    unit="s",
    description="Duration of HTTP server requests.",
    explicit_bucket_boundaries_advisory=DURATION_BOUNDARIES,
)


class Tracing:
    """Makes a span of each request of an application.

    :param tells_messages: say what exceptions say, too.
    """

    def __init__(self, app: Flask, *, tells_messages: bool) -> None:
        self._app = app
        self._tells_messages = tells_messages
        self._is_set_up = False
        got_request_exception.connect(_note_failure, app)

    def visit(self, environ: WSGIEnvironment) -> TracedRequest | _BesideForeignSpan | None:
        """Begin the span of a request; None where somebody else makes it."""
        if not self._is_set_up:
            self._set_up()
        if has_flask_instrumentation(self._app):
            return None
        return _begin(environ, tells_messages=self._tells_messages)

    def _set_up(self) -> None:
        """Begin to send, in the process that serves: a thread does not outlive a fork."""
        self._is_set_up = True
        if self._app.testing:
            return  # nobody receives what tests do
        try:
            send_by_otlp(self._app)
        except Exception:
            log_once("PERFKIT_TRACES")


def _note_failure(app: Flask, exception: BaseException, **_: Any) -> None:
    """Note the error of a view: what is answered says only that there was one."""
    traced = request.environ.get(_ENVIRON_KEY)
    if isinstance(traced, TracedRequest):
        traced.see_request()
        traced.see_error(exception)


class _Headers(Getter["WSGIEnvironment"]):
    """Reads the headers of a WSGI request."""

    def get(self, carrier: WSGIEnvironment, key: str) -> list[str] | None:
        value = carrier.get("HTTP_" + key.upper().replace("-", "_"))
        return None if value is None else [value]

    def keys(self, carrier: WSGIEnvironment) -> list[str]:
        headers = (key for key in carrier if key.startswith("HTTP_"))
        return [key.removeprefix("HTTP_").lower().replace("_", "-") for key in headers]


_HEADERS = _Headers()


def _begin(environ: WSGIEnvironment, *, tells_messages: bool) -> TracedRequest | _BesideForeignSpan:
    """Start the span of a request, unless somebody else has made it already."""
    around = trace.get_current_span()
    kind, parent = SpanKind.SERVER, None
    around_context = around.get_span_context()
    if not around_context.is_valid or around_context.is_remote:
        parent = propagate.extract(environ, getter=_HEADERS)
    elif _is_foreign_server_span(around):
        return _BesideForeignSpan()
    else:  # asked from within this process
        kind = SpanKind.INTERNAL
    method = environ.get("REQUEST_METHOD", "")
    known = method if method in METHODS else OTHER_METHOD
    attributes = _attributes(environ, known)
    if known == OTHER_METHOD:
        attributes["http.request.method_original"] = method[:_LONGEST_METHOD]
    name = "HTTP" if known == OTHER_METHOD else known
    span = tracer.start_span(name, context=parent, kind=kind, attributes=attributes)
    context = trace.set_span_in_context(span, parent)
    traced = TracedRequest(environ, span, context, name, known, tells_messages)
    environ[_ENVIRON_KEY] = traced
    return traced


class _BesideForeignSpan:
    """A visit to a request whose span another made: findings go to it until the body is closed."""

    leave = staticmethod(detach)

    def __init__(self) -> None:
        self.enter = partial(attach, get_current())

    def answered(self, status: int, headers: Any) -> None:
        """Have nothing to note."""

    def end(self, error: BaseException | None) -> None:
        """Have no span to end."""


def _is_foreign_server_span(span: Any) -> bool:
    scope = getattr(span, "instrumentation_scope", None)
    return getattr(span, "kind", None) is SpanKind.SERVER and getattr(scope, "name", "") != SCOPE


def _attributes(environ: WSGIEnvironment, method: str) -> dict[str, Any]:
    """Return what is known when a request begins; no query string, which may hold secrets."""
    path = (environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", ""))[:_LONGEST_TEXT]
    attributes: dict[str, Any] = {
        "http.request.method": method,
        "url.path": quote(path, safe=_SAFE_IN_PATH, encoding="latin-1", errors="replace"),
        "url.scheme": environ.get("wsgi.url_scheme", "http"),
    }
    host = environ.get("HTTP_HOST") or environ.get("SERVER_NAME", "")
    name, _, port = host[:_LONGEST_TEXT].rpartition(":")
    if name and port.isdigit():
        attributes["server.address"] = name
        attributes["server.port"] = int(port)
    elif host:
        attributes["server.address"] = host[:_LONGEST_TEXT]
    if client := environ.get("REMOTE_ADDR"):
        attributes["client.address"] = client
    if agent := environ.get("HTTP_USER_AGENT"):
        attributes["user_agent.original"] = agent[:_LONGEST_TEXT]
    return attributes


class TracedRequest:
    """One request while its span is open: a visit at the edge, which sets its context."""

    __slots__ = (
        "_active",
        "_context",
        "_environ",
        "_name",
        "_seen",
        "_span",
        "_started",
        "_tells_messages",
        "enter",
        "error",
        "route",
        "status",
    )

    leave = staticmethod(detach)

    def __init__(
        self,
        environ: WSGIEnvironment,
        span: trace.Span,
        context: Context,
        name: str,
        method: str,
        tells_messages: bool,
    ) -> None:
        self._started = perf_counter()
        self._tells_messages = tells_messages
        self._seen: int | None = None
        self._environ = environ
        self._span = span
        self._name = name
        self._context = context
        self.enter = partial(attach, context)
        self.error: str | None = None
        self.route: str | None = None
        self.status: int | None = None
        scheme = environ.get("wsgi.url_scheme", "http")
        self._active = {"http.request.method": method, "url.scheme": scheme}
        _active.add(1, self._active, context)

    def answered(self, status: int, headers: Any) -> None:
        """Note what is answered, and to which route, while Flask knows it."""
        self.status = status
        self.see_request()

    def see_request(self) -> None:
        """Look up the rule while Flask's request is in the environ."""
        rule = getattr(self._environ.get("werkzeug.request"), "url_rule", None)
        if rule is not None:
            self.route = self._environ.get("SCRIPT_NAME", "") + rule.rule

    def see_error(self, error: BaseException) -> None:
        """Note an error that nobody handled, and put it on the span; once, if it comes again."""
        self.error = error_type(error)
        if self._span.is_recording() and self._seen != id(error):
            self._seen = id(error)
            add_exception(self._span, error, tells_message=self._tells_messages)

    def end(self, error: BaseException | None) -> None:
        """End the span and measure the request."""
        duration = perf_counter() - self._started
        _active.add(-1, self._active, self._context)
        outcome: dict[str, Any] = {}
        if self.status is not None:
            outcome["http.response.status_code"] = self.status
        if self.route is not None:
            outcome["http.route"] = self.route
        failed = self.status is None or self.status >= _SERVER_ERROR
        if error is not None and not isinstance(error, GeneratorExit):
            failed = True
            self.see_error(error)
        if failed:
            outcome["error.type"] = self.error or str(self.status or _SERVER_ERROR)
        span = self._span
        if span.is_recording():
            span.set_attributes(outcome)
            if self.route is not None:
                span.update_name(f"{self._name} {self.route}")
            if failed:
                span.set_status(StatusCode.ERROR)
            span.end()
        _duration.record(duration, {**outcome, **self._active}, self._context)
