"""Ask each endpoint once, collect what is found, and try the fixes that can be tried."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import Context
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar

from flask_perfkit.audit.endpoints import Address, addresses_of
from flask_perfkit.audit.proof import Proof, is_provable, prove
from flask_perfkit.bypass import without_caches
from flask_perfkit.hooks.attributes import watch_attributes
from flask_perfkit.recording.findings import Finding, worst_first
from flask_perfkit.recording.profile import Profile
from flask_perfkit.signals import request_profiled

if TYPE_CHECKING:
    from flask import Flask
    from flask.testing import FlaskClient

P = ParamSpec("P")
R = TypeVar("R")

_NOT_THERE = 404
_ERROR = 500


class Answer(NamedTuple):
    """What was answered at a path."""

    path: str
    status: int

    @property
    def is_error(self) -> bool:
        """Tell whether the application failed, where else the path is not there."""
        return self.status >= _ERROR


@dataclass(frozen=True)
class Audit:
    """What an audit asked for and found.

    ``missed`` are the endpoints that were not looked at, with the reason: nothing is known of
    them, good or bad. ``failed`` are answers of 500 and above, and 404s of paths that were asked
    for by name.
    """

    profiles: tuple[Profile, ...]
    findings: tuple[Finding, ...]
    proofs: tuple[Proof, ...]
    missed: tuple[Address, ...]
    failed: tuple[Answer, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data that JSON can hold."""
        return {
            "requests": [
                {
                    "endpoint": profile.endpoint,
                    "path": profile.path,
                    "status": profile.status,
                    "queries": profile.query_count,
                    "duration": profile.duration,
                }
                for profile in self.profiles
            ],
            "findings": [finding.to_dict() for finding in self.findings],
            "proofs": [proof.to_dict() for proof in self.proofs],
            "not_audited": [address._asdict() for address in self.missed],
        }


def audit(
    app: Flask,
    *,
    paths: Iterable[str] = (),
    headers: Iterable[tuple[str, str]] = (),
    prove_fixes: bool = False,
    progress: Callable[[str], object] = lambda path: None,
) -> Audit:
    """Ask an application for each of its addresses, in this process and by GET only.

    Its caches are passed by, so that what they hide is seen.

    :param paths: addresses to ask for beside those that can be guessed.
    :param headers: sent with each request, such as the cookie or the token of one who is logged in.
    :param prove_fixes: try each loader option on the request that it was found in.
    :param progress: gets each path before it is asked for.
    """
    watch_attributes()
    app.extensions["perfkit"].notes_reads = True
    addresses = [Address("", path) for path in paths]
    addresses += addresses_of(app)
    missed = [address for address in addresses if address.path is None]
    failed = []
    sent = list(headers)
    with _nothing_logged(), _profiles_of(app) as profiles:
        # A client that keeps cookies would send these in the place of the one that was given.
        client = app.test_client(use_cookies="cookie" not in {name.lower() for name, _ in sent})
        for address in addresses:
            if address.path is None:
                continue
            progress(address.path)
            status = _apart(_status_of, client, address.path, sent)
            if status >= _ERROR or (status == _NOT_THERE and not address.endpoint):
                failed.append(Answer(address.path, status))
            elif status == _NOT_THERE:
                reason = f"{address.path} is not there: give another with --path"
                missed.append(address._replace(path=None, reason=reason))
    findings = _one_of_each(
        worst_first(finding for profile in profiles for finding in profile.findings)
    )
    provable = filter(is_provable, findings) if prove_fixes else ()
    with _nothing_logged():
        proofs = [_apart(prove, app, finding) for finding in provable]
    return Audit(tuple(profiles), findings, tuple(proofs), tuple(missed), tuple(failed))


def _one_of_each(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Leave out what several addresses of one endpoint show alike; the first is kept."""
    kept: dict[object, Finding] = {}
    for finding in findings:
        place = (finding.endpoint, finding.filename, finding.lineno, finding.origin)
        kept.setdefault((finding.kind, finding.subject, finding.sql, place), finding)
    return tuple(kept.values())


def _apart(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function outside of any application context.

    A command runs in one, and requests inside of it would share ``flask.g``, who is logged in
    and the session with the objects that it knows.
    """
    return Context().run(function, *args, **kwargs)


def _status_of(client: FlaskClient, path: str, headers: list[tuple[str, str]]) -> int:
    """Ask for a path to its last byte; an error that the application passes on is a 500."""
    try:
        with without_caches(), client.get(path, headers=headers) as response:
            response.get_data()
            return response.status_code
    except Exception:
        return _ERROR


@contextmanager
def _profiles_of(app: Flask) -> Iterator[list[Profile]]:
    """Collect the profiles of an application."""
    profiles: list[Profile] = []

    def collect(sender: Flask, profile: Profile) -> None:
        profiles.append(profile)

    with request_profiled.connected_to(collect, app):
        yield profiles


@contextmanager
def _nothing_logged() -> Iterator[None]:
    """Keep findings out of the log while they go into the report."""
    log = logging.getLogger("flask_perfkit")
    was_disabled, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = was_disabled
