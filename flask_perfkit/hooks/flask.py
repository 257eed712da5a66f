"""Watches requests at the WSGI edge, where nothing of a request is missed.

Flask's own hooks are not called for every request (an earlier one may answer), may run twice
(teardown) or before a streamed body is made. The edge sees all of it, routing errors and
teardown included, and costs less.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from inspect import unwrap
from random import random
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from flask import request

from flask_perfkit.analysis import analyse, is_unremarkable
from flask_perfkit.callsite import is_application, stop_at
from flask_perfkit.errors import FindingError
from flask_perfkit.faults import log_once
from flask_perfkit.profile import View
from flask_perfkit.recorder import Recorder, enter, leave
from flask_perfkit.signals import request_profiled
from flask_perfkit.sinks import deliver
from flask_perfkit.sinks.headers import server_timing
from flask_perfkit.sinks.strict import raise_findings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from flask import Flask, Request, Response

    from flask_perfkit.state import State

_KEY = "flask_perfkit.exchange"
_LONGEST_METHOD = 20
_LONGEST_PATH = 200
_SECONDS = 1e-9


class WatchedApplication:
    """A WSGI application that records what each request does.

    It takes the place of ``app.wsgi_app``.
    """

    def __init__(self, app: Flask, state: State) -> None:
        self._app = app
        self._state = state
        self._wsgi_app: WSGIApplication = app.wsgi_app
        self._rate = state.settings.sample_rate

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if self._rate < 1 and random() >= self._rate:
            return self._wsgi_app(environ, start_response)
        exchange = Exchange(self._app, self._state, environ, start_response)
        token = enter(exchange.recorder)
        try:
            body = self._wsgi_app(environ, exchange.start_response)
        except BaseException:
            leave(token)
            exchange.abort()
            raise
        leave(token)
        return exchange.watch(body)


stop_at(WatchedApplication.__call__.__code__)


class Exchange:
    """One request and its response, until the last byte of the body.

    It is also the body that the server iterates over. A server closes what it was given; a
    test client may never, so there the end is told by the bytes that were promised.
    """

    def __init__(
        self, app: Flask, state: State, environ: WSGIEnvironment, start_response: StartResponse
    ) -> None:
        self.recorder = Recorder()
        self._app = app
        self._state = state
        self._environ = environ
        self._start_response = start_response
        self._status = "500"
        self._awaited = -1
        self._finished = False
        self._raised = False
        environ[_KEY] = self

    def start_response(self, status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
        """Note how the response begins, and pass it on."""
        self._status = status
        # Real servers name themselves; they close the body after its last byte has left.
        if "SERVER_SOFTWARE" not in self._environ:
            self._awaited = _length(headers)
        return self._start_response(status, headers, *exc_info)

    def watch(self, body: Iterable[bytes]) -> Iterable[bytes]:
        """Return the body to give to the server: this exchange, or a file as it is."""
        try:
            if isinstance(body, _file_wrapper(self._environ)):
                self.finish()  # the server may hand the file to the kernel
                return body  # type: ignore[no-any-return]
            self._body = body
            self._next = iter(body).__next__
        except FindingError:
            raise
        except Exception:
            log_once("watching a response")
            return body
        return self

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        token = enter(self.recorder)
        try:
            chunk = self._next()
        except StopIteration:
            leave(token)
            self.finish()
            raise
        except BaseException:
            leave(token)
            self.abort()
            raise
        leave(token)
        self._awaited -= len(chunk)
        if self._awaited == 0:
            self.finish()
        return chunk

    def close(self) -> None:
        """Close the application's own body; the request is over then at the latest."""
        token = enter(self.recorder)
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            leave(token)
            self.finish()

    def finish(self) -> None:
        """Report the request; only the first call counts.

        :raises FindingError: the application wants findings to be raised.
        """
        if self._finished:
            return
        self._finished = True
        try:
            self._report()
        except FindingError:
            if not self._raised:
                raise
        except Exception:
            log_once("reporting a request")

    def abort(self) -> None:
        """Report a request that failed; its own error is what is raised."""
        self._raised = True
        self.finish()

    def speak_early(self, response: Response) -> Response:
        """Analyse what was recorded so far, for what must be said before the response leaves.

        :raises FindingError: the application wants findings to be raised.
        """
        settings = self._state.settings
        duration = (perf_counter_ns() - self.recorder.started) * _SECONDS
        profile = analyse(self.recorder.fold(), settings, duration=duration, **self._facts())
        if settings.server_timing:
            response.headers.add("Server-Timing", server_timing(profile))
        if settings.on_finding == "raise" and not self._raised:
            self._raised = bool(profile.findings)
            raise_findings(profile)
        return response

    def _report(self) -> None:
        recorder, state = self.recorder, self._state
        duration = (perf_counter_ns() - recorder.started) * _SECONDS
        if (
            recorder.parent is None
            and not state.watches_all
            and not request_profiled.receivers
            and is_unremarkable(recorder, duration, state.settings)
        ):
            recorder.discard()
            return
        causes = recorder.close()
        facts = self._facts()
        if facts["endpoint"] not in state.settings.exclude:
            profile = analyse(causes, state.settings, duration=duration, **facts)
            deliver(profile, state.sinks)

    def _facts(self) -> dict[str, Any]:
        request: Request | None = self._environ.get("werkzeug.request")
        rule = getattr(request, "url_rule", None)
        endpoint = rule.endpoint if rule is not None else None
        return {
            "endpoint": endpoint,
            "rule": rule.rule if rule is not None else None,
            "method": str(self._environ.get("REQUEST_METHOD", ""))[:_LONGEST_METHOD],
            "path": request.path[:_LONGEST_PATH] if request is not None else None,
            "status": int(self._status[:3]),
            "view": _view(self._app, endpoint, request),
        }


def speak_early(response: Response) -> Response:
    """Give the open exchange its word before the response leaves (an ``after_request``)."""
    exchange: Exchange | None = request.environ.get(_KEY)
    if exchange is None:
        return response
    try:
        return exchange.speak_early(response)
    except FindingError:
        raise
    except Exception:
        log_once("speaking before the response")
        return response


def _length(headers: list[tuple[str, str]]) -> int:
    length = dict(headers).get("Content-Length", "")
    return int(length) if length.isdecimal() else -1


def _file_wrapper(environ: WSGIEnvironment) -> Any:
    wrapper = environ.get("wsgi.file_wrapper")
    return wrapper if isinstance(wrapper, type) else ()


def _view(app: Flask, endpoint: str | None, request: Request | None) -> View | None:
    """Find where the function lies that answers a request; None where it is a library's."""
    view: Any = app.view_functions.get(endpoint) if endpoint is not None else None
    if request is not None and hasattr(view, "view_class"):
        view = getattr(view.view_class, request.method.lower(), view.view_class.dispatch_request)
    code = getattr(unwrap(view), "__code__", None) if view is not None else None
    if code is None or not is_application(code.co_filename):
        return None
    return View(code.co_filename, code.co_firstlineno, code.co_name)
