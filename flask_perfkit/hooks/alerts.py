"""Counts each request for the alerts of its application, whether it is sampled or not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any

from werkzeug.wsgi import ClosingIterator

from flask_perfkit.faults import log_once

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from flask import Flask

    from flask_perfkit.alerts import Monitor
    from flask_perfkit.profile import Profile
    from flask_perfkit.sinks import Sink

_FAILED = 500


def count_requests(app: Flask, monitor: Monitor) -> None:
    """Tell a monitor of each request from now on."""
    app.wsgi_app = _CountedApplication(app.wsgi_app, monitor)  # type: ignore[method-assign]


def count_findings(monitor: Monitor) -> Sink:
    """Return a sink that tells a monitor of each finding."""

    def count(profile: Profile) -> None:
        for finding in profile.findings:
            monitor.see_finding(finding.kind, monotonic())

    return count


class _CountedApplication:
    """Takes the place of ``app.wsgi_app``."""

    def __init__(self, wsgi_app: WSGIApplication, monitor: Monitor) -> None:
        self._wsgi_app = wsgi_app
        self._monitor = monitor

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        started = perf_counter()
        answered = _FAILED

        def note(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
            nonlocal answered
            answered = int(status[:3])
            return start_response(status, headers, *exc_info)

        def end() -> None:
            try:
                self._monitor.see_request(perf_counter() - started, answered, monotonic())
            except Exception:
                log_once("counting for alerts")

        try:
            body = self._wsgi_app(environ, note)
        except BaseException:
            answered = _FAILED
            end()
            raise
        return _ending(body, environ, end)


def _ending(
    body: Iterable[bytes], environ: WSGIEnvironment, end: Callable[[], None]
) -> Iterable[bytes]:
    """Return the body to give to the server; the request ends when it is closed."""
    wrapper = environ.get("wsgi.file_wrapper")
    # The server may hand a file to the kernel if it is left as it is; a test client, which has
    # no name, may never close a body.
    if "SERVER_SOFTWARE" not in environ or (
        isinstance(wrapper, type) and isinstance(body, wrapper)
    ):
        end()
        return body
    return ClosingIterator(body, end)
