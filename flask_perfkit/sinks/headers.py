"""Shows the time and the findings of a request in its ``Server-Timing`` header."""

from __future__ import annotations

from flask_perfkit.recording.profile import Profile
from flask_perfkit.recording.wording import line, statement_count

_MOST_FINDINGS = 8
_LONGEST = 200


def server_timing(profile: Profile) -> str:
    """Return the header's value: total time, time in the database, then the findings.

    Browsers show it beside the request; durations are in milliseconds.
    """
    metrics = [
        f"total;dur={profile.duration * 1000:.1f}",
        f"db;dur={profile.sql_duration * 1000:.1f};desc={_quoted(statement_count(profile))}",
    ]
    for finding in profile.findings[:_MOST_FINDINGS]:
        text = f"{finding.subject} {finding.count}x"
        if finding.filename is not None:
            text += f" at {line(finding.filename, finding.lineno)}"
        description = _quoted(f"{text}: {finding.fix}")
        metrics.append(f"{finding.kind};dur={finding.duration * 1000:.1f};desc={description}")
    return ", ".join(metrics)


def _quoted(text: str) -> str:
    """Return a quoted-string of RFC 9110; what it cannot hold becomes a question mark."""
    plain = "".join(char if " " <= char <= "~" else "?" for char in text[:_LONGEST])
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'
