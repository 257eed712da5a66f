"""Ask each endpoint once, collect what is found, and prove the fixes that can be."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flask_perfkit.audit.endpoints import Address, addresses_of
from flask_perfkit.bypass import without_caches
from flask_perfkit.findings import Finding, worst_first
from flask_perfkit.hooks.attributes import watch_attributes
from flask_perfkit.profile import Profile
from flask_perfkit.proof import Proof, is_provable, prove
from flask_perfkit.signals import request_profiled

if TYPE_CHECKING:
    from flask import Flask
    from flask.testing import FlaskClient


@dataclass(frozen=True)
class Audit:
    """What an audit asked for and found.

    ``missed`` are the endpoints that were not looked at, with the reason: nothing is known of
    them, good or bad.
    """

    profiles: tuple[Profile, ...]
    findings: tuple[Finding, ...]
    proofs: tuple[Proof, ...]
    missed: tuple[Address, ...]

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
    prove_fixes: bool = False,
    progress: Callable[[str], object] = lambda path: None,
) -> Audit:
    """Ask an application for each of its addresses, in this process and by GET only.

    Its caches are passed by, so that what they hide is seen.

    :param paths: addresses to ask for beside those that can be guessed.
    :param prove_fixes: try each loader option on the request that it was found in.
    :param progress: gets each path before it is asked for.
    """
    watch_attributes()
    app.extensions["perfkit"].notes_reads = True
    addresses = [Address("", path) for path in paths]
    addresses += addresses_of(app)
    missed = [address for address in addresses if address.path is None]
    with _profiles_of(app) as profiles, without_caches():
        client = app.test_client()
        for address in addresses:
            if address.path is None:
                continue
            progress(address.path)
            if _status_of(client, address.path) == 404 and address.endpoint:
                reason = f"{address.path} is not there: give another with --path"
                missed.append(address._replace(path=None, reason=reason))
    findings = worst_first(finding for profile in profiles for finding in profile.findings)
    proofs = [prove(app, finding) for finding in findings if prove_fixes and is_provable(finding)]
    return Audit(tuple(profiles), findings, tuple(proofs), tuple(missed))


def _status_of(client: FlaskClient, path: str) -> int:
    """Ask for a path to its last byte; an error that the application passes on is a 500."""
    try:
        with client.get(path) as response:
            response.get_data()
            return response.status_code
    except Exception:
        return 500


@contextmanager
def _profiles_of(app: Flask) -> Iterator[list[Profile]]:
    """Collect the profiles of an application; its findings are not logged meanwhile."""
    profiles: list[Profile] = []

    def collect(sender: Flask, profile: Profile) -> None:
        profiles.append(profile)

    log = logging.getLogger("flask_perfkit")
    was_disabled, log.disabled = log.disabled, True
    try:
        with request_profiled.connected_to(collect, app):
            yield profiles
    finally:
        log.disabled = was_disabled
