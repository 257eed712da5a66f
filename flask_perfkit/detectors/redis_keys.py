"""redis_keys: the command KEYS, which stops the server while it looks at every key."""

from __future__ import annotations

from flask_perfkit.config import Settings
from flask_perfkit.recording.calls import Call
from flask_perfkit.recording.findings import Finding
from flask_perfkit.recording.profile import Profile
from flask_perfkit.recording.wording import finding_of, milliseconds, place


def detect(profile: Profile, settings: Settings) -> list[Finding]:
    """Find lines that sent KEYS, once is enough."""
    return [_finding(call, profile) for call in profile.cache_calls if call.name == "KEYS"]


def _finding(call: Call, profile: Profile) -> Finding:
    fix = "for key in r.scan_iter(match=pattern, count=1000)"
    message = (
        f"KEYS sent to Redis {call.count}x ({milliseconds(call.duration)}) {place(call, profile)}; "
        f"it stops the server for everybody while it scans every key: use {fix}"
    )
    return finding_of("redis_keys", call, profile, message=message, fix=fix)
