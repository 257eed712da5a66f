"""A load that was refused, told as the n_plus_one that it would have been.

``raiseload`` refuses it on purpose, and an async session because nothing awaits it.
"""

from __future__ import annotations

from collections import Counter

from flask_perfkit.config import Settings
from flask_perfkit.recording.calls import Call
from flask_perfkit.recording.findings import Finding
from flask_perfkit.recording.profile import Profile
from flask_perfkit.recording.wording import finding_of, line, place

_LOADERS = {"refused_relationship": "selectinload", "refused_column": "undefer"}


def detect(profile: Profile, settings: Settings) -> list[Finding]:
    """Find attributes that could not be loaded where they were read; one is enough."""
    return [_finding(call, profile) for call in profile.refused_loads]


def _finding(call: Call, profile: Profile) -> Finding:
    model = call.name.partition(".")[0]
    sources = profile.brought_by(Counter(call.keys))
    origin = fix = None
    for source in sources:
        if source.reason.subject == model and source.filename and source.lineno:
            origin = (source.filename, source.lineno)
            fix = f"{_LOADERS[call.kind]}({call.name})"
            break
    advice = f"add {fix} to the select at {line(*origin)}" if origin else ""
    if fix is None:
        fix = advice = f"load {call.name} along, by the options of the select that brings {model}"
    message = (
        f"{call.name} was not loaded along, and loading it when it is read is refused "
        f"{place(call, profile)}; {advice}"
    )
    return finding_of("n_plus_one", call, profile, message=message, fix=fix, origin=origin)
