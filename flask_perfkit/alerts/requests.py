"""Counts each request for the alerts of its application, whether it is sampled or not."""

from __future__ import annotations

from collections.abc import Iterable
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any

from werkzeug.wsgi import ClosingIterator

from flask_perfkit.faults import log_once
from flask_perfkit.hooks.wsgi import closes_bodies, goes_to_kernel, status_code

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from flask import Flask

    from flask_perfkit.alerts.monitor import Monitor
    from flask_perfkit.recording.profile import Profile
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
            answered = status_code(status)
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
        if goes_to_kernel(body, environ) or not closes_bodies(environ):
            end()
            return body
        return ClosingIterator(body, end)
