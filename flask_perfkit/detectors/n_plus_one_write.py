"""n_plus_one_write: rows written one by one."""

from __future__ import annotations

from collections import defaultdict

from flask_perfkit.config import Settings
from flask_perfkit.recording.findings import Finding
from flask_perfkit.recording.fingerprint import WRITES, shape_of
from flask_perfkit.recording.profile import Cause, Profile
from flask_perfkit.recording.reason import code_of, is_mapped
from flask_perfkit.recording.wording import finding_of, milliseconds, place


def detect(profile: Profile, settings: Settings) -> list[Finding]:
    """Find causes that wrote again and again; one flush is one write.

    A flush that writes several tables is one cause all the same: its first table stands for it.
    """
    findings: list[Finding] = []
    flushed: defaultdict[tuple[str | None, int | None], set[int]] = defaultdict(set)
    for cause in sorted(profile.causes, key=lambda cause: cause.started):
        if cause.operation not in WRITES or cause.acts < settings.n_plus_one_threshold:
            continue
        same_line = flushed[cause.filename, cause.lineno]
        if _writes_many(cause) or not same_line.isdisjoint(cause.flushed_at):
            continue
        same_line |= cause.flushed_at
        findings.append(_finding(cause, profile))
    return findings


def _writes_many(cause: Cause) -> bool:
    """Tell whether each act writes a set of rows, as a purge in batches does."""
    # A driver may not tell the rows; in a flush each execution has one at least.
    return max(cause.rows, cause.count) > 2 * cause.acts


def _finding(cause: Cause, profile: Profile) -> Finding:
    fix = _fix(cause)
    if cause.library is not None:
        fix = f"{cause.library} sends each by itself: see whether it can send them together"
    message = (
        f"{cause.count} {cause.operation}s of {cause.reason.subject}, one by one "
        f"({milliseconds(cause.time)}) {place(cause, profile)}; {fix}"
    )
    return finding_of("n_plus_one_write", cause, profile, message=message, fix=fix)


def _fix(cause: Cause) -> str:
    entity, key = cause.reason.subject, code_of(_key(cause.sql), cause.reason.subject)
    if cause.operation == "INSERT":
        rows = f"session.execute(insert({entity}), rows)"
        if not is_mapped(entity):
            return f"collect the rows and {rows}"
        return f"collect the objects and session.add_all(them) with one flush, or {rows}"
    if cause.operation == "DELETE":
        return f"session.execute(delete({entity}).where({key}.in_(ids)))"
    return (
        f"change the objects and flush once after the loop, or "
        f"session.execute(update({entity}).where({key}.in_(ids)).values(...))"
    )


def _key(sql: str) -> str:
    """Return the column that tells the written rows from others; nothing where several do."""
    compared = shape_of(sql.rpartition(" WHERE ")[2]).compared
    return compared[0].column if len(compared) == 1 and compared[0].operator == "=" else ""
