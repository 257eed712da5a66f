"""What is the same thing in two requests: ids of profiles, statements and findings."""

from __future__ import annotations

from hashlib import sha1
from random import getrandbits
from time import time_ns

from flask_perfkit.recording.findings import Finding

_LENGTH = 12


def fingerprint_of(shape: str) -> str:
    """Return a short name for the shape of a statement."""
    return _digest(shape)


def finding_id(finding: Finding) -> str:
    """Return a short name for a finding: its kind and subject at its line, else its endpoint."""
    at = f"{finding.filename}:{finding.lineno}" if finding.filename else str(finding.endpoint)
    return _digest(f"{finding.kind}\0{finding.subject}\0{at}")


def _digest(text: str) -> str:
    return sha1(text.encode("utf-8", "replace"), usedforsecurity=False).hexdigest()[:_LENGTH]


def new_id() -> str:
    """Return a new id for a profile; later ones are greater."""
    return f"{time_ns() // 1_000_000:011x}{getrandbits(36):09x}"
