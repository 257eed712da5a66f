"""A span for each request, from the WSGI edge to the end of the response's body."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from time import perf_counter
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from flask import got_request_exception, request
from opentelemetry import propagate, trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.propagators.textmap import Getter
from opentelemetry.trace import SpanKind, StatusCode

from flask_perfkit.faults import log_once
from flask_perfkit.hooks.wsgi import closes_bodies, goes_to_kernel, status_code
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
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from flask import Flask

_METHODS = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"}
)
_OTHER = "_OTHER"
_ENVIRON_KEY = "flask_perfkit.span"
_LONGEST_METHOD = 20
_LONGEST_TEXT = 1_000
_SERVER_ERROR = 500
_SAFE_IN_PATH = "/:@!$&'()*+,;=~%-._"

_duration = meter.create_histogram(
    "http.server.request.duration",
    unit="s",
    description="Duration of HTTP server requests.",
    explicit_bucket_boundaries_advisory=DURATION_BOUNDARIES,
)


def trace_requests(app: Flask) -> None:
    """Make a span of each request of an application from now on."""
    app.wsgi_app = _TracedApplication(app)  # type: ignore[method-assign]
    got_request_exception.connect(_note_failure, app)


def _note_failure(app: Flask, exception: BaseException, **_: Any) -> None:
    """Note the error of a view: what is answered says only that there was one."""
    traced = request.environ.get(_ENVIRON_KEY)
    if isinstance(traced, _TracedRequest):
        traced.see_request()
        traced.error = error_type(exception)


class _Headers(Getter["WSGIEnvironment"]):
    """Reads the headers of a WSGI request."""

    def get(self, carrier: WSGIEnvironment, key: str) -> list[str] | None:
        value = carrier.get("HTTP_" + key.upper().replace("-", "_"))
        return None if value is None else [value]

    def keys(self, carrier: WSGIEnvironment) -> list[str]:
        headers = (key for key in carrier if key.startswith("HTTP_"))
        return [key.removeprefix("HTTP_").lower().replace("_", "-") for key in headers]


_HEADERS = _Headers()


class _TracedApplication:
    """Takes the place of ``app.wsgi_app``."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._wsgi_app: WSGIApplication = app.wsgi_app
        self._is_set_up = False

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if not self._is_set_up:
            self._set_up()
        try:
            traced = None if has_flask_instrumentation(self._app) else _begin(environ)
        except Exception:
            log_once("beginning to trace a request")
            traced = None
        if traced is None:
            return self._wsgi_app(environ, start_response)
        token = attach(traced.context)
        try:
            body = self._wsgi_app(environ, traced.noting(start_response))
        except BaseException as error:
            detach(token)
            traced.end(error)
            raise
        detach(token)
        try:
            return traced.watch(body)
        except Exception:
            log_once("tracing a response")
            return body

    def _set_up(self) -> None:
        """Begin to send, in the process that serves: a thread does not outlive a fork."""
        self._is_set_up = True
        if self._app.testing:
            return  # nobody receives what tests do
        try:
            send_by_otlp(self._app)
        except Exception:
            log_once("PERFKIT_TRACES")


def _begin(environ: WSGIEnvironment) -> _TracedRequest | None:
    """Start the span of a request; None where somebody else has made it already."""
    around = trace.get_current_span()
    kind, parent = SpanKind.SERVER, None
    around_context = around.get_span_context()
    if not around_context.is_valid or around_context.is_remote:
        parent = propagate.extract(environ, getter=_HEADERS)
    elif _is_foreign_server_span(around):
        return None
    else:  # asked from within this process
        kind = SpanKind.INTERNAL
    method = environ.get("REQUEST_METHOD", "")
    known = method if method in _METHODS else _OTHER
    attributes = _attributes(environ, known)
    if known == _OTHER:
        attributes["http.request.method_original"] = method[:_LONGEST_METHOD]
    name = "HTTP" if known == _OTHER else known
    span = tracer.start_span(name, context=parent, kind=kind, attributes=attributes)
    traced = _TracedRequest(environ, span, trace.set_span_in_context(span, parent), name, known)
    environ[_ENVIRON_KEY] = traced
    return traced


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


class _TracedRequest:
    """One request while its span is open; ``context`` is the one to run it in."""

    __slots__ = (
        "_ended",
        "_environ",
        "_method",
        "_name",
        "_promises",
        "_span",
        "_started",
        "context",
        "error",
        "route",
        "status",
    )

    def __init__(
        self,
        environ: WSGIEnvironment,
        span: trace.Span,
        context: Context,
        name: str,
        method: str,
    ) -> None:
        self._started = perf_counter()
        self._environ = environ
        self._span = span
        self._name = name
        self._method = method
        self._ended = False
        self._promises = False
        self.context = context
        self.error: str | None = None
        self.route: str | None = None
        self.status: int | None = None

    def noting(self, start_response: StartResponse) -> Any:
        """Return a ``start_response`` that notes what is answered."""

        def note(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            try:
                self.status = status_code(status)
                self._promises = any(name.lower() == "content-length" for name, _ in headers)
                self.see_request()
            except Exception:
                log_once("noting a response")
            return start_response(status, headers, *exc_info)

        return note

    def see_request(self) -> None:
        """Look up the rule while Flask's request is in the environ."""
        rule = getattr(self._environ.get("werkzeug.request"), "url_rule", None)
        if rule is not None:
            self.route = self._environ.get("SCRIPT_NAME", "") + rule.rule

    @property
    def is_closed(self) -> bool:
        """Whether the body will be closed by who asked."""
        return closes_bodies(self._environ)

    def watch(self, body: Iterable[bytes]) -> Iterable[bytes]:
        """Return the body to give to the server; the span ends when it has been sent."""
        is_complete = self._promises and not self.is_closed
        if is_complete or goes_to_kernel(body, self._environ):
            self.end()
            return body
        return _TracedBody(body, self)

    def end(self, error: BaseException | None = None) -> None:
        """End the span and measure the request; only the first call counts."""
        if self._ended:
            return
        self._ended = True
        try:
            self._end(error)
        except Exception:
            log_once("ending a span")

    def _end(self, error: BaseException | None) -> None:
        duration = perf_counter() - self._started
        outcome: dict[str, Any] = {}
        if self.status is not None:
            outcome["http.response.status_code"] = self.status
        if self.route is not None:
            outcome["http.route"] = self.route
        failed = self.status is None or self.status >= _SERVER_ERROR
        if error is not None and not isinstance(error, GeneratorExit):
            failed, self.error = True, error_type(error)
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
        outcome["http.request.method"] = self._method
        outcome["url.scheme"] = self._environ.get("wsgi.url_scheme", "http")
        _duration.record(duration, outcome, self.context)


class _TracedBody:
    """A response's body that is made in the context of its request's span."""

    def __init__(self, body: Iterable[bytes], traced: _TracedRequest) -> None:
        self._body = body
        self._next: Callable[[], bytes] = iter(body).__next__
        self._traced = traced

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        token = attach(self._traced.context)
        try:
            return self._next()
        except StopIteration:
            if not self._traced.is_closed:
                self._traced.end()
            raise
        except BaseException as error:
            self._traced.end(error)
            raise
        finally:
            detach(token)

    def close(self) -> None:
        """Close the application's own body; the request is over then."""
        token = attach(self._traced.context)
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            detach(token)
            self._traced.end()
