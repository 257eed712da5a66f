"""blocking_call: a call that blocks its thread while an event loop runs in it."""

from __future__ import annotations

from flask_perfkit.config import Settings
from flask_perfkit.recording.calls import Call
from flask_perfkit.recording.findings import Finding
from flask_perfkit.recording.profile import Profile
from flask_perfkit.recording.wording import finding_of, milliseconds, place

_FIXES = {
    "time.sleep": "await asyncio.sleep(seconds)",
    "socket.connect": "an asynchronous client, or await asyncio.to_thread(function)",
    "subprocess": "await asyncio.create_subprocess_exec(...)",
}


def detect(profile: Profile, settings: Settings) -> list[Finding]:
    """Find lines that blocked an event loop, once is enough."""
    return [_finding(call, profile) for call in profile.blocking_calls]


def _finding(call: Call, profile: Profile) -> Finding:
    fix = _FIXES[call.name]
    message = (
        f"{call.name} blocked the event loop {call.count}x for "
        f"{milliseconds(call.duration)} {place(call, profile)}; use {fix}"
    )
    return finding_of("blocking_call", call, profile, message=message, fix=fix)
