"""n_plus_one_write: rows written one by one."""

from __future__ import annotations

from flask_perfkit.config import Settings
from flask_perfkit.detectors.wording import finding_of, milliseconds, place
from flask_perfkit.findings import Finding
from flask_perfkit.fingerprint import WRITES
from flask_perfkit.profile import Cause, Profile


def detect(profile: Profile, settings: Settings) -> list[Finding]:
    """Find causes that wrote again and again; one flush is one write.

    A flush that writes several tables is one cause all the same: its first table stands for it.
    """
    findings = []
    flushed_at = set()
    for cause in sorted(profile.causes, key=lambda cause: cause.started):
        if cause.operation not in WRITES or cause.acts < settings.n_plus_one_threshold:
            continue
        line = (cause.filename, cause.lineno)
        if _writes_many(cause) or (cause.flushes and line in flushed_at):
            continue
        if cause.flushes:
            flushed_at.add(line)
        findings.append(_finding(cause, profile))
    return findings


def _writes_many(cause: Cause) -> bool:
    """Tell whether each act writes a set of rows, as a purge in batches does."""
    # A driver may not tell the rows; in a flush each execution has one at least.
    return max(cause.rows, cause.count) > 2 * cause.acts


def _finding(cause: Cause, profile: Profile) -> Finding:
    fix = _fix(cause)
    message = (
        f"{cause.count} {cause.operation}s of {cause.reason.subject}, one by one "
        f"({milliseconds(cause.time)}) {place(cause)}; {fix}"
    )
    return finding_of("n_plus_one_write", cause, profile, message=message, fix=fix)


def _fix(cause: Cause) -> str:
    entity = cause.reason.subject
    if cause.operation == "INSERT":
        return (
            f"collect the objects and session.add_all(them) with one flush, or "
            f"session.execute(insert({entity}), rows)"
        )
    if cause.operation == "DELETE":
        return f"session.execute(delete({entity}).where({entity}.id.in_(ids)))"
    return (
        f"change the objects and flush once after the loop, or "
        f"session.execute(update({entity}).where({entity}.id.in_(ids)).values(...))"
    )
