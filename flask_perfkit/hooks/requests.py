"""Watches requests at the WSGI edge, where nothing of a request is missed.

Flask's own hooks are not called for every request (an earlier one may answer), may run twice
(teardown) or before a streamed body is made. The edge sees all of it, routing errors and
teardown included, and costs less: a plain request that is worth no report is let go at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from inspect import unwrap
from random import random
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from flask import current_app, got_request_exception, request

from flask_perfkit.detectors.analysis import analyse, is_unremarkable
from flask_perfkit.errors import FindingError
from flask_perfkit.faults import log_once
from flask_perfkit.hooks.wsgi import closes_bodies, goes_to_kernel
from flask_perfkit.recording.callsite import is_application, stop_at
from flask_perfkit.recording.profile import Profile, View
from flask_perfkit.recording.recorder import Recorder, current, enter, leave
from flask_perfkit.signals import request_profiled
from flask_perfkit.sinks import deliver
from flask_perfkit.sinks.headers import server_timing
from flask_perfkit.state import MOST_REPLAYS, Replay

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from flask import Flask, Request, Response

    from flask_perfkit.state import State

FirstStep = Callable[["WSGIEnvironment"], None]
"""What remains to be done when the first request comes, given its environ."""

_LONGEST_METHOD = 20
_LONGEST_PATH = 200
_SECONDS = 1e-9
_ASKED_AGAIN = ("Accept", "Accept-Language", "Authorization", "Cookie", "Host")


class RequestRecorder(Recorder):
    """The recorder of one request, with what Flask made of it.

    ``sampled`` says whether findings are looked for, ``failed`` whether it ended with an error
    that was passed on, ``sent`` how many bytes of its body have been sent; None where the body
    is a sequence.
    """

    stands_alone = True
    environ: WSGIEnvironment
    asked: Request | None = None
    response: Response | None = None
    spoke = False
    sampled = True
    failed = False
    sent: int | None = None

    def drop(self) -> None:
        """End the recording of a request in which nothing was looked for."""
        self.discard()


def watch_requests(
    app: Flask,
    state: State,
    at_first_request: Sequence[FirstStep],
    measured: type[RequestRecorder] | None = None,
) -> None:
    """Record each request of an application from now on.

    :param at_first_request: what remains to be set up when all modules have been imported.
    :param measured: the recorder of requests where each of them is measured, sampled or not.
    """
    kind = measured or RequestRecorder
    watched = _WatchedApplication(app, state, at_first_request, kind)
    app.wsgi_app = watched  # type: ignore[method-assign]
    noting = _noting_response(app.process_response, state, kind)
    app.process_response = noting  # type: ignore[assignment, method-assign]
    got_request_exception.connect(_note_failure, app)


def _noting_response(
    process_response: Callable[[Response], Response], state: State, kind: type[RequestRecorder]
) -> Callable[[Response], Response]:
    """Wrap Flask's last word on a response, which is spoken for failed requests too."""
    settings = state.settings
    speaks_early = settings.server_timing or settings.traces or settings.on_finding == "raise"

    def noting(response: Response) -> Response:
        recorder = current()
        if type(recorder) is not kind:
            recorder = request_of(recorder)
            if recorder is None:
                return process_response(response)
        # Flask takes the request out of the environ before we are asked again.
        recorder.asked = recorder.environ.get("werkzeug.request")
        recorder.response = response  # if a hook fails this is what is sent
        response = recorder.response = process_response(response)
        if speaks_early and recorder.sampled and not recorder.spoke:
            _speak_early(recorder, response, state)
        return response

    return noting


def request_of(recorder: Recorder | None) -> RequestRecorder | None:
    """Return the request that is around the block of another recorder."""
    while recorder is not None and not isinstance(recorder, RequestRecorder):
        recorder = recorder.parent
    return recorder


def _note_failure(app: Flask, **_: Any) -> None:
    """Note the request that fails: where the error is passed on, no response is made."""
    recorder = request_of(current())
    if recorder is not None:
        recorder.asked = recorder.environ.get("werkzeug.request")


class _WatchedApplication:
    """Takes the place of ``app.wsgi_app``."""

    def __init__(
        self,
        app: Flask,
        state: State,
        at_first_request: Sequence[FirstStep],
        kind: type[RequestRecorder],
    ) -> None:
        self._at_first_request: Sequence[FirstStep] | None = at_first_request
        self._app = app
        self._state = state
        self._wsgi_app: WSGIApplication = app.wsgi_app
        self._rate = state.settings.sample_rate
        self._kind = kind
        self._unsampled = self._wsgi_app if kind is RequestRecorder else self._only_measure

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if self._rate < 1 and random() >= self._rate:
            return self._unsampled(environ, start_response)
        if self._at_first_request is not None:
            self._set_up(environ)
        try:
            recorder = self._kind()
        except Exception:
            log_once("beginning to watch a request")
            return self._wsgi_app(environ, start_response)
        recorder.environ = environ
        if self._state.notes_reads:
            recorder.touched = {}
        token = enter(recorder)
        try:
            body = self._wsgi_app(environ, start_response)
        except BaseException:
            leave(token)
            _report(recorder, self._app, self._state, failed=True)
            raise
        leave(token)
        try:
            response = recorder.response
            if response is not None and response.is_sequence and not self._has_news(recorder):
                recorder.discard()
                return body
            return self._watch(body, recorder)
        except FindingError:
            raise
        except Exception:
            log_once("watching a response")
            return body

    def _only_measure(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        """Measure a request in which no findings are looked for."""
        if self._at_first_request is not None:
            self._set_up(environ)
        try:
            recorder = self._kind()
        except Exception:
            log_once("beginning to measure a request")
            return self._wsgi_app(environ, start_response)
        recorder.environ = environ
        recorder.sampled = False
        token = enter(recorder)
        try:
            body = self._wsgi_app(environ, start_response)
        except BaseException:
            leave(token)
            _report(recorder, self._app, self._state, failed=True)
            raise
        leave(token)
        try:
            return self._watch(body, recorder)
        except Exception:
            log_once("watching a response")
            return body

    def _set_up(self, environ: WSGIEnvironment) -> None:
        set_up, self._at_first_request = self._at_first_request, None
        for step in set_up or ():
            try:
                step(environ)
            except Exception:
                log_once("the set-up at the first request")

    def _has_news(self, recorder: Recorder) -> bool:
        """Tell whether anybody would hear of this request."""
        try:
            return not (
                recorder.parent is None
                and not request_profiled.receivers
                and not self._state.watches_all
                and is_unremarkable(recorder, self._state.settings)
            )
        except Exception:
            log_once("looking at a request")
            return False

    def _watch(self, body: Iterable[bytes], recorder: RequestRecorder) -> Iterable[bytes]:
        """Return the body to give to the server, and report when it has been sent."""
        report = partial(_report, recorder, self._app, self._state)
        response = recorder.response
        is_closed = closes_bodies(recorder.environ)
        if response is not None and response.is_sequence and not is_closed:
            report()
        elif goes_to_kernel(body, recorder.environ):
            recorder.sent = (response and response.content_length) or 0
            report()
        else:
            promised = response.content_length if response is not None else None
            return _WatchedBody(body, recorder, report, None if is_closed else promised)
        return body


stop_at(_WatchedApplication.__call__.__code__)


class _WatchedBody:
    """A response's body that records while it is made, and reports when it is over.

    :param promised: bytes after which it is over, even if nobody asks for more or closes it.
    """

    def __init__(
        self,
        body: Iterable[bytes],
        recorder: RequestRecorder,
        report: Callable[..., None],
        promised: int | None,
    ) -> None:
        self._body = body
        self._next = iter(body).__next__
        self._recorder = recorder
        self._report = report
        self._promised = promised
        self._sent = recorder.sent = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        token = enter(self._recorder)
        try:
            chunk = self._next()
        except StopIteration:
            leave(token)
            self._report()
            raise
        except BaseException:
            leave(token)
            self._report(failed=True)
            raise
        leave(token)
        self._sent += len(chunk)
        self._recorder.sent = self._sent
        if self._promised is not None and self._sent >= self._promised:
            self._report()
        return chunk

    def close(self) -> None:
        """Close the application's own body; the request is over then at the latest."""
        token = enter(self._recorder)
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            leave(token)
            self._report()


stop_at(_WatchedBody.__next__.__code__)
stop_at(_WatchedBody.close.__code__)


def _report(recorder: RequestRecorder, app: Flask, state: State, *, failed: bool = False) -> None:
    """Analyse a request and tell the sinks; only the first call for a recorder counts.

    :param failed: the request ends with an error of its own, which no finding may replace.
    :raises FindingError: the application wants findings to be raised.
    """
    if recorder.closed:
        return
    try:
        if failed:
            recorder.failed, recorder.response = True, None
            recorder.sent = recorder.sent or 0
        if not recorder.sampled:
            recorder.drop()
            return
        recorder.close()
        facts = _facts(recorder, app, failed=failed)
        if facts["endpoint"] in state.settings.exclude:
            return
        profile = analyse(recorder, state.settings, **facts)
        if profile.findings and recorder.touched is not None:
            _keep_to_ask_again(recorder, profile, state)
        if recorder.parent is not None:
            recorder.parent.report((*profile.findings, *profile.allowed))
        deliver(profile, state.sinks)
    except FindingError:
        if not (failed or recorder.spoke):
            raise
    except Exception:
        log_once("reporting a request")


def _keep_to_ask_again(recorder: RequestRecorder, profile: Profile, state: State) -> None:
    """Keep a GET with findings in memory, so that a fix can be tried on it."""
    asked = recorder.asked
    if asked is None or profile.endpoint is None or asked.method != "GET":
        return
    if len(state.replays) < MOST_REPLAYS or profile.endpoint in state.replays:
        headers = tuple((name, value) for name, value in asked.headers if name in _ASKED_AGAIN)
        state.replays[profile.endpoint] = Replay(
            asked.environ["PATH_INFO"], asked.environ.get("QUERY_STRING", ""), headers
        )


def _speak_early(recorder: RequestRecorder, response: Response, state: State) -> None:
    """Analyse what was recorded so far, for what must be said before the response leaves.

    :raises FindingError: the application wants findings to be raised.
    """
    settings = state.settings
    try:
        early_sinks = state.early_sinks()
        if not (settings.server_timing or settings.on_finding == "raise" or early_sinks):
            return
        facts = _facts(recorder, current_app, failed=False)
        if facts["endpoint"] in settings.exclude or request != recorder.asked:
            return  # a request inside of this one that is not watched itself says nothing
        profile = analyse(recorder, settings, **facts)
        deliver(profile, early_sinks)
        if settings.server_timing:
            response.headers.add("Server-Timing", server_timing(profile))
        if settings.on_finding == "raise" and profile.findings:
            recorder.spoke = True
            raise FindingError(profile.findings)
    except FindingError:
        raise
    except Exception:
        log_once("speaking before the response")


def _facts(recorder: RequestRecorder, app: Flask, *, failed: bool) -> dict[str, Any]:
    """Return what a profile says of a request beside its statements."""
    asked, response = recorder.asked, recorder.response
    rule = getattr(asked, "url_rule", None)
    endpoint = rule.endpoint if rule is not None else None
    duration = (perf_counter_ns() - recorder.started) * _SECONDS
    return {
        "endpoint": endpoint,
        "rule": rule.rule if rule is not None else None,
        "method": str(recorder.environ.get("REQUEST_METHOD", ""))[:_LONGEST_METHOD],
        "path": asked.path[:_LONGEST_PATH] if asked is not None else None,
        "status": 500 if failed or response is None else response.status_code,
        "started_at": datetime.now(UTC) - timedelta(seconds=duration),
        "duration": duration,
        "view": _view(app, endpoint, asked),
        "mount": str(recorder.environ.get("SCRIPT_NAME", "")),
    }


def _view(app: Flask, endpoint: str | None, asked: Request | None) -> View | None:
    """Find where the function lies that answers a request; None where it is a library's."""
    view: Any = app.view_functions.get(endpoint) if endpoint is not None else None
    if asked is not None and hasattr(view, "view_class"):
        view = getattr(view.view_class, asked.method.lower(), view.view_class.dispatch_request)
    code = getattr(unwrap(view), "__code__", None) if view is not None else None
    if code is None or not is_application(code.co_filename):
        return None
    return View(code.co_filename, code.co_firstlineno, code.co_name)
