"""Counts each request for the alerts of its application, whether it is sampled or not."""

from __future__ import annotations

from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from flask_perfkit.alerts.monitor import Monitor
    from flask_perfkit.recording.profile import Profile

_FAILED = 500


class CountedRequest:
    """One request, as a monitor sees it: a visit at the edge."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._started = perf_counter()
        self._status = _FAILED

    def enter(self) -> None:
        """Have nothing to set."""

    def leave(self, token: None) -> None:
        """Have nothing to undo."""

    def answered(self, status: int, headers: Any) -> None:
        """Note the status."""
        self._status = status

    def end(self, error: BaseException | None) -> None:
        """Tell the monitor."""
        status = self._status if error is None else _FAILED
        self._monitor.see_request(perf_counter() - self._started, status, monotonic())


class Counting:
    """Tells a monitor of requests and of findings."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor

    def visit(self, environ: WSGIEnvironment) -> CountedRequest:
        """Take part in a request."""
        return CountedRequest(self._monitor)

    def count_findings(self, profile: Profile) -> None:
        """Count the findings of a profile: a sink."""
        for finding in profile.findings:
            self._monitor.see_finding(finding.kind, monotonic())
