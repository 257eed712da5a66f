"""Asks an application for one address, within limits, and notes what came of it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import Context
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from flask import session as flask_session

from flask_perfkit.audit.endpoints import Address
from flask_perfkit.audit.trial.limits import Trial, TrialEnded, limited
from flask_perfkit.bypass import without_caches
from flask_perfkit.recording.fingerprint import WRITES
from flask_perfkit.recording.profile import Profile
from flask_perfkit.signals import request_profiled

if TYPE_CHECKING:
    from flask import Flask
    from flask.testing import FlaskClient

_LOGGED_OUT = (401, 403)
_REDIRECTS = (301, 302, 303, 307, 308)
_ENOUGH = range(200, 300)
_NOT_MODIFIED = 304
_NOT_THERE = 404


_BOOKKEEPING = frozenset({"_fresh", "_flashes"})
"""What Flask and Flask-Login note in a session without changing who it is."""


class Limits(NamedTuple):
    """How long an address may take, in seconds, and how much of its answer is read, in bytes."""

    seconds: float
    size: int


DEFAULT_LIMITS = Limits(seconds=20.0, size=50_000_000)


@dataclass(frozen=True)
class Visit:
    """What came of one address.

    ``reason`` says why nothing is known of it, and what would help; it is empty where it was
    looked at. ``notes`` are what else is worth knowing, such as that it wrote. ``is_cacheable``
    says that a browser may keep the answer or ask whether it has changed; ``memory`` is by how
    many bytes the most that the process ever held has grown.
    """

    address: Address
    status: int | None
    profile: Profile | None
    reason: str = ""
    notes: tuple[str, ...] = ()
    is_cacheable: bool = False
    memory: int = 0

    @property
    def was_seen(self) -> bool:
        """Whether the endpoint did what it is there for, so that its findings mean something."""
        return not self.reason

    @property
    def endpoint(self) -> str:
        """The endpoint that answered, or the one that was to; nothing where none is known."""
        answered = self.profile.endpoint if self.profile is not None else None
        return answered or self.address.endpoint

    @property
    def was_refused(self) -> bool:
        """Whether an endpoint did not take the values that an address of ours gave it."""
        return bool(self.address.endpoint) and self.status is not None and self.status < 500

    @property
    def has_failed(self) -> bool:
        """Whether it answered with a server's error."""
        return self.status is not None and self.status >= 500

    @property
    def is_gone(self) -> bool:
        """Whether it was asked for by name and is not there."""
        return self.status == _NOT_THERE and not self.address.endpoint

    @property
    def was_turned_away(self) -> bool:
        """Whether it is for those who are logged in."""
        return self.status in _LOGGED_OUT or self.status in _REDIRECTS


class Asker:
    """Asks for addresses one by one, each as if it were the first.

    :param prepared: returns a client, with the cookies of one who is logged in if need be.
    :param headers: sent with each request.
    """

    def __init__(
        self,
        app: Flask,
        prepared: Callable[[], FlaskClient],
        headers: list[tuple[str, str]],
        limits: Limits,
    ) -> None:
        self._app = app
        self._prepared = prepared
        self._headers = [("Accept-Encoding", "gzip"), *headers]
        self._limits = limits

    def ask(self, address: Address) -> Visit:
        """Ask for an address by GET; what it writes by the way is taken back.

        It runs outside of any application context: a command runs in one, and requests inside
        of it would share ``flask.g``, who is logged in, and the session with its objects.
        """
        return Context().run(self._ask, address)

    def _ask(self, address: Address) -> Visit:
        notes: list[str] = []
        status: int | None = None
        reason = ""
        before, is_cacheable = _most_memory(), False
        with _profiles_of(self._app) as profiles, contextlib.redirect_stdout(sys.stderr):
            trial = Trial(seconds=self._limits.seconds)
            try:
                with limited(trial), without_caches():
                    status, is_cacheable = self._answer(str(address.path), notes)
            except TrialEnded as ended:
                trial.ended = trial.ended or str(ended)
            except Exception as error:
                status = 500
                reason = f"{address.path}: 500: {type(error).__name__}, see the application's log"
                self._log(address, error)
        if trial.ended is not None:  # an error of the application may have come of that
            status, reason = None, f"{address.path} was left: {trial.ended}"
        profile = next(iter(reversed(profiles)), None)
        if profile is not None and trial.ended is not None:
            profile = _cut_short(profile, address)
        if profile is not None and any(cause.operation in WRITES for cause in profile.causes):
            notes.append("it writes by GET; what it wrote was rolled back")
        return Visit(
            address,
            status,
            profile,
            reason or _reason(address, status),
            tuple(notes),
            is_cacheable,
            _most_memory() - before,
        )

    def _log(self, address: Address, error: Exception) -> None:
        """Log an error as Flask would, which leaves that to the server in debug and in tests."""
        with contextlib.suppress(Exception):  # a handler of the application's may raise
            self._app.logger.error("Exception on %s [GET]", address.path, exc_info=error)

    def _answer(self, path: str, notes: list[str]) -> tuple[int, bool]:
        """Return the status, and whether a browser may keep the answer or ask if it changed."""
        client = self._prepared()
        session = self._session_of(client)
        with client.get(path, headers=self._headers) as response:
            read = 0
            for chunk in response.iter_encoded():
                read += len(chunk)
                if read > self._limits.size:
                    notes.append(f"only the first {self._limits.size / 1e6:,.0f} MB were read")
                    break
            is_cacheable = "ETag" in response.headers or bool(response.cache_control.max_age)
            if session and "Set-Cookie" in response.headers and not self._keeps(client, session):
                notes.append("it changes who is logged in; no other request was sent with that")
            return response.status_code, is_cacheable

    def _keeps(self, client: FlaskClient, session: dict[str, Any]) -> bool:
        """Tell whether all that a session held is still in it."""
        return session.items() <= self._session_of(client).items()

    def _session_of(self, client: FlaskClient) -> dict[str, Any]:
        """Return what the session of a client's cookies holds."""
        cookies = (client._cookies or {}).values()
        header = "; ".join(f"{cookie.key}={cookie.value}" for cookie in cookies)
        with self._app.test_request_context(headers={"Cookie": header}):
            return {name: flask_session[name] for name in flask_session if name not in _BOOKKEEPING}


def _cut_short(profile: Profile, address: Address) -> Profile:
    """Return the profile of a request that we ended: how long it took is not its own doing."""
    endpoint = profile.endpoint or address.endpoint or None
    findings = [one for one in profile.findings if one.kind != "slow_request"]
    findings = [replace(one, endpoint=one.endpoint or endpoint) for one in findings]
    return replace(profile, endpoint=endpoint, findings=tuple(findings))


def _reason(address: Address, status: int | None) -> str:
    """Say why an answer tells nothing of an endpoint, and what would help."""
    path = address.path
    if status is None or status in _ENOUGH or status == _NOT_MODIFIED:
        return ""
    if status in _LOGGED_OUT or status in _REDIRECTS:
        return f"{path}: {status}: --login or --header may open it"
    if status == _NOT_THERE:
        return f"{path} is not there: give another with --path"
    if status >= 500:
        return f"{path}: {status}: see the application's log"
    if status == 429:
        return f"{path} answered 429: turn the rate limit off for the audit"
    return f"{path} answered {status}: give an address that it accepts with --path or --data"


def _most_memory() -> int:
    """Return the most memory that this process ever held, in bytes; 0 where nobody tells."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


@contextmanager
def _profiles_of(app: Flask) -> Iterator[list[Profile]]:
    """Collect the profiles of an application."""
    profiles: list[Profile] = []

    def collect(sender: Flask, profile: Profile) -> None:
        profiles.append(profile)

    with request_profiled.connected_to(collect, app):
        yield profiles
