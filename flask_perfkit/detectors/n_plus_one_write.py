"""n_plus_one_write: rows written one by one."""

from __future__ import annotations

from collections import defaultdict

from flask_perfkit.config import Settings
from flask_perfkit.cures.selects import compares_keys_only
from flask_perfkit.cures.writes import write_advice
from flask_perfkit.recording.cause import Cause
from flask_perfkit.recording.findings import Finding
from flask_perfkit.recording.fingerprint import WRITES
from flask_perfkit.recording.issued import known
from flask_perfkit.recording.profile import Profile
from flask_perfkit.recording.wording import finding_of, milliseconds, place

_FEW_ROWS = 10


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
    """Tell whether each act writes a set of rows, as a purge in batches does.

    The few rows of each parent are no such set.
    """
    # A driver may not tell the rows; in a flush each execution has one at least.
    rows = max(cause.rows, cause.count)
    if rows > _FEW_ROWS * cause.acts:
        return True
    return rows > 2 * cause.acts and not compares_keys_only(known(cause.issued))


def _finding(cause: Cause, profile: Profile) -> Finding:
    flushed = cause.flushes > cause.direct
    fix = write_advice(known(cause.issued), cause.varying, cause.operation, flushed=flushed)
    if cause.library is not None:
        fix = f"{cause.library} sends each by itself: see whether it can send them together"
    message = (
        f"{cause.count} {cause.operation}s of {cause.reason.subject}, one by one "
        f"({milliseconds(cause.time)}) {place(cause, profile)}; {fix}"
    )
    return finding_of("n_plus_one_write", cause, profile, message=message, fix=fix)
