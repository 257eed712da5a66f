"""n_plus_one_write: rows written one by one."""

from __future__ import annotations

from flask_perfkit.config import Settings
from flask_perfkit.cures.writes import write_advice
from flask_perfkit.recording.findings import Finding
from flask_perfkit.recording.fingerprint import WRITES
from flask_perfkit.recording.issued import known
from flask_perfkit.recording.profile import Cause, Profile
from flask_perfkit.recording.wording import finding_of, milliseconds, place


def detect(profile: Profile, settings: Settings) -> list[Finding]:
    """Find causes that wrote again and again; one flush is one write.

    A flush that writes several tables is one cause all the same: its first table stands for it.
    """
    findings: list[Finding] = []
    flushed: list[Cause] = []
    for cause in sorted(profile.causes, key=lambda cause: cause.started):
        if cause.operation not in WRITES or cause.acts < settings.n_plus_one_threshold:
            continue
        if _writes_many(cause) or any(_is_of_flushes(cause, other) for other in flushed):
            continue
        if cause.flushes:
            flushed.append(cause)
        findings.append(_finding(cause, profile))
    return findings


def _is_of_flushes(cause: Cause, other: Cause) -> bool:
    """Tell whether the same flushes sent both."""
    same_line = (cause.filename, cause.lineno) == (other.filename, other.lineno)
    return same_line and bool(cause.flushed_at & other.flushed_at)


def _writes_many(cause: Cause) -> bool:
    """Tell whether each act writes a set of rows, as a purge in batches does."""
    # A driver may not tell the rows; in a flush each execution has one at least.
    return max(cause.rows, cause.count) > 2 * cause.acts


def _finding(cause: Cause, profile: Profile) -> Finding:
    flushed = cause.flushes > cause.direct
    fix = write_advice(known(cause.issued), cause.varying, cause.operation, flushed=flushed)
    message = (
        f"{cause.count} {cause.operation}s of {cause.reason.subject}, one by one "
        f"({milliseconds(cause.time)}) {place(cause)}; {fix}"
    )
    return finding_of("n_plus_one_write", cause, profile, message=message, fix=fix)
