"""Watches requests: what Flask makes of each, and its report once it has passed the edge."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cached_property
from random import random
from threading import Lock
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from flask import got_request_exception, has_request_context, request

from flask_perfkit.bypass import is_unjudged
from flask_perfkit.detectors.analysis import analyse, first_look
from flask_perfkit.errors import FindingError
from flask_perfkit.faults import log_once
from flask_perfkit.hooks.facts import LONGEST_PATH, answer_of, path_of, view_of
from flask_perfkit.recording.answer import Answer
from flask_perfkit.recording.profile import Profile
from flask_perfkit.recording.recorder import Recorder, current, enter, leave
from flask_perfkit.signals import request_profiled
from flask_perfkit.sinks import deliver
from flask_perfkit.sinks.headers import server_timing
from flask_perfkit.standin import stand_in
from flask_perfkit.state import MOST_REPLAYS, Replay
from flask_perfkit.store.identity import new_id
from flask_perfkit.wsgi import Edge, Headers, Passage

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment
    from flask import Flask, Request, Response

    from flask_perfkit.state import State

FirstStep = Callable[["WSGIEnvironment"], None]
"""What remains to be done when the first request comes, given its environ."""

_FAILED = 500
_LONGEST_METHOD = 20
_SECONDS = 1e-9
_ASKED_AGAIN = ("Accept", "Accept-Language", "Authorization", "Cookie", "Host")


class RequestRecorder(Passage):
    """The recorder of one request, with what Flask made of it.

    ``app`` and ``state`` are the same for all requests of an application, which has a subclass
    of its own, and so is ``is_unremarkable``, which tells that nothing can be found. ``sampled``
    says whether findings are looked for, ``failed`` whether the request ended with an error that
    was passed on; ``profile_id`` is what the client was told. ``counts_all`` says of the class
    that requests are counted which are not sampled.
    """

    counts_all = False

    app: Flask
    state: State
    asked: Request | None = None
    response: Response | None = None
    spoke = False
    profile_id = ""
    sampled = True
    failed = False
    is_unremarkable: Callable[[Recorder], bool]

    def __init__(self, environ: WSGIEnvironment) -> None:
        # What the recorder does, without the price of calling it.
        self.parent = current()
        self.started = perf_counter_ns()
        self.environ = environ
        if self.state.notes_reads:
            self.touched = {}
            self.has_more = True

    @cached_property
    def rendering(self) -> list[tuple[object, int]]:
        """The templates that are being rendered, each with the moment when that began."""
        return []

    @property
    def status(self) -> int:
        """The status that was answered, as far as it is known."""
        if self.told is not None and not self.failed:
            return self.told
        return self.response.status_code if self.response is not None else _FAILED

    def is_let_go(self) -> bool:
        """Forget a request that is answered and worth no report; tell whether nobody waits."""
        response = self.response
        if response is None or response.response.__class__ is not list:
            return False
        try:
            if (
                self.parent is not None
                or request_profiled.receivers
                or not self.is_unremarkable(self)
            ):
                return False
        except Exception:
            log_once("looking at a request")
        self.discard()
        return not self.visits

    def is_complete(self) -> bool:
        """Tell whether the body is there as a whole."""
        return self.response is not None and self.response.is_sequence

    @property
    def promised(self) -> int | None:
        """How many bytes the body is going to have, where that was said."""
        return self.response.content_length if self.response is not None else super().promised

    def answered(self, status: int, headers: Headers) -> None:
        """Note what the server is told; where that is another answer than Flask's, it counts."""
        self.told = status
        self.headers = headers
        if self.response is not None and self.response.status_code != status:
            self.response = None
        for visit in self.visits:
            visit.answered(status, headers)

    def drop(self) -> None:
        """End the recording of a request in which nothing was looked for."""
        super().discard()

    def finish(self, error: BaseException | None) -> None:
        """Analyse the request and tell the sinks; only the first call counts.

        :param error: the request's own, which no finding may replace.
        :raises FindingError: the application wants findings to be raised.
        """
        if self.closed:
            return
        try:
            if error is not None:
                self.failed, self.response = True, None
                self.sent = self.sent or 0
            if not self.sampled and self.parent is None:
                self.drop()
                return
            self.close()
            if not self.sampled or is_unjudged():
                return
            facts = _facts(self)
            if self.state.settings.excludes(facts["endpoint"]):
                return
            profile = analyse(self, self.state.settings, **facts)
            if profile.findings and self.touched is not None:
                _keep_to_ask_again(self, profile)
            if self.parent is not None:
                self.parent.report((*profile.findings, *profile.allowed))
            deliver(profile, self.state.sinks)
        except FindingError:
            if not (self.failed or self.spoke):
                raise
        except Exception:
            log_once("reporting a request")


def watch_requests(
    app: Flask,
    state: State,
    at_first_request: Callable[[WSGIEnvironment], type[RequestRecorder] | None],
) -> Edge:
    """Record each request of an application from now on.

    :param at_first_request: sets up what had to wait for the first request; returns the recorder
        that requests get, None where they are not watched.
    """
    lock = Lock()
    opened: list[Callable[[WSGIEnvironment], Passage | None]] = []

    def begin_first(environ: WSGIEnvironment) -> Passage | None:
        with lock:  # nobody is counted before all is set up
            if not opened:
                opened.append(_open(app, state, edge, at_first_request(environ)))
                edge.begin_with(opened[0])
        return opened[0](environ)

    edge = Edge(app.wsgi_app, begin_first)
    app.wsgi_app = edge  # type: ignore[method-assign]
    got_request_exception.connect(_note_failure, app)
    return edge


def _open(
    app: Flask, state: State, edge: Edge, recorder: type[RequestRecorder] | None
) -> Callable[[WSGIEnvironment], Passage | None]:
    """Return what opens the passage of a request from now on."""
    if recorder is None:
        return lambda environ: None
    kind = type("RequestRecorder", (recorder,), {"app": app, "state": state})
    noting = _noting_response(app.process_response, state, kind)
    app.process_response = noting  # type: ignore[method-assign]
    return _beginning(edge, kind)


def _beginning(
    edge: Edge, kind: type[RequestRecorder]
) -> Callable[[WSGIEnvironment], Passage | None]:
    """Return what opens the passage of a request: in production the class itself."""
    settings = kind.state.settings
    kind.is_unremarkable = staticmethod(first_look(settings))
    rate = settings.sample_rate
    if rate >= 1:
        return kind
    unsampled: type[RequestRecorder] = kind
    if not kind.counts_all:
        own = {"app": kind.app, "state": kind.state, "is_unremarkable": kind.is_unremarkable}
        unsampled = type("RequestRecorder", (RequestRecorder,), own)
    concerned = [kind] if kind.counts_all else edge.visitors  # by requests that are not sampled

    def begin(environ: WSGIEnvironment) -> Passage | None:
        if random() < rate:
            return kind(environ)
        if not concerned:
            return None
        passage = unsampled(environ)
        passage.sampled = False
        if not kind.counts_all:
            passage.visits = (_Unrecorded(passage.parent),)
        return passage

    return begin


class _Unrecorded:
    """Leaves statements to the recorder around: a visit to a request that nobody records."""

    leave = staticmethod(leave)

    def __init__(self, around: Recorder | None) -> None:
        self._around = around

    def enter(self) -> Any:
        """Open the recorder around."""
        return enter(self._around)

    def answered(self, status: int, headers: Headers) -> None:
        """Have nothing to note."""

    def end(self, error: BaseException | None) -> None:
        """Have nothing to end."""


def _noting_response(
    process_response: Callable[..., Response], state: State, kind: type[RequestRecorder]
) -> Callable[..., Response]:
    """Wrap Flask's last word on a response, which is spoken for failed requests too.

    From Flask 3.2 on it is given the context of the request first, and then the response.
    """
    settings = state.settings
    links = settings.dashboard and state.store is not None and kind.app.debug
    is_told_early = (
        settings.server_timing or settings.traces or settings.on_finding == "raise" or links
    )

    def noting(_: Flask, *given: Any) -> Response:
        recorder = current()
        if recorder.__class__ is not kind and (
            recorder is None or (recorder := request_of(recorder)) is None
        ):
            return process_response(*given)
        # Flask takes the request out of the environ before we are asked again, and sooner where
        # a thread was given a copy of the request's context.
        recorder.asked = recorder.environ.get("werkzeug.request") or _request_here()
        recorder.response = given[-1]  # if a hook fails this is what is sent
        response = recorder.response = process_response(*given)
        if is_told_early and recorder.sampled and not recorder.spoke:
            _speak_early(recorder, response, state)
        return response

    replacement: Callable[..., Response] = stand_in(process_response, noting)
    return replacement


def _request_here() -> Request | None:
    asked: Request | None = request._get_current_object() if has_request_context() else None  # type: ignore[attr-defined]
    return asked


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


def _keep_to_ask_again(recorder: RequestRecorder, profile: Profile) -> None:
    """Keep a GET with findings in memory, so that a fix can be tried on it."""
    asked, replays = recorder.asked, recorder.state.replays
    if asked is None or profile.endpoint is None or asked.method != "GET":
        return
    if len(replays) < MOST_REPLAYS or profile.endpoint in replays:
        headers = tuple((name, value) for name, value in asked.headers if name in _ASKED_AGAIN)
        replays[profile.endpoint] = Replay(
            asked.environ["PATH_INFO"], asked.environ.get("QUERY_STRING", ""), headers
        )


def _speak_early(recorder: RequestRecorder, response: Response, state: State) -> None:
    """Analyse what was recorded so far, for what must be said before the response leaves.

    :raises FindingError: the application wants findings to be raised.
    """
    settings = state.settings
    if is_unjudged():
        return
    try:
        early_sinks = state.early_sinks()
        links = settings.dashboard and state.store is not None and recorder.app.debug
        if not (settings.server_timing or settings.on_finding == "raise" or early_sinks or links):
            return
        facts = _facts(recorder)
        if settings.excludes(facts["endpoint"]) or request != recorder.asked:
            return  # a request inside of this one that is not watched itself says nothing
        profile = analyse(recorder, settings, **facts)
        deliver(profile, early_sinks)
        if settings.server_timing:
            response.headers.add("Server-Timing", server_timing(profile))
        if links:
            recorder.profile_id = new_id()
            root = profile.mount + settings.dashboard_path.rstrip("/")
            page = quote(f"{root}/requests/{recorder.profile_id}")
            response.headers.add("Link", f'<{page}>; rel="profile"')
            if state.put_badge is not None:
                state.put_badge(response, recorder.asked, profile, quote(root), page)
        if settings.on_finding == "raise" and profile.findings:
            recorder.spoke = True
            raise FindingError(profile.findings)
    except FindingError:
        raise
    except Exception:
        log_once("speaking before the response")


def _facts(recorder: RequestRecorder) -> dict[str, Any]:
    """Return what a profile says of a request beside its statements."""
    asked, environ = recorder.asked, recorder.environ
    rule = getattr(asked, "url_rule", None)
    endpoint = rule.endpoint if rule is not None else None
    duration = (perf_counter_ns() - recorder.started) * _SECONDS
    return {
        "endpoint": endpoint,
        "rule": rule.rule if rule is not None else None,
        "method": str(environ.get("REQUEST_METHOD", ""))[:_LONGEST_METHOD],
        "path": asked.path[:LONGEST_PATH] if asked is not None else path_of(environ),
        "status": recorder.status,
        "started_at": datetime.now(UTC) - timedelta(seconds=duration),
        "duration": duration,
        "view": view_of(recorder.app, endpoint, asked.method if asked is not None else None),
        "mount": str(environ.get("SCRIPT_NAME", "")),
        "answer": _answer(recorder),
        "id": recorder.profile_id,
        "sample_rate": recorder.state.settings.sample_rate,
    }


def _answer(recorder: RequestRecorder) -> Answer | None:
    """Return how an answer was sent.

    While one develops and tests nobody minds: no server stands in front, and files shall be
    asked for again. An audit looks at it then too.
    """
    asked, response, app = recorder.asked, recorder.response, recorder.app
    is_production = not (app.debug or app.testing)
    if asked is None or response is None or not (is_production or recorder.state.is_audited):
        return None
    return answer_of(app, asked, response, recorder.environ, recorder.sent)
