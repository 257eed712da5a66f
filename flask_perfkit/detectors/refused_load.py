"""A load that was refused, told as the n_plus_one that it would have been.

``raiseload`` refuses it on purpose, and an async session because nothing awaits it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from flask_perfkit.config import Settings
from flask_perfkit.cures.loaders import ColumnStep, LoaderOption, LoaderStep, class_of, option_for
from flask_perfkit.detectors.loading import sent_by
from flask_perfkit.recording.calls import Call
from flask_perfkit.recording.cause import Cause
from flask_perfkit.recording.findings import Finding
from flask_perfkit.recording.issued import known
from flask_perfkit.recording.profile import Profile
from flask_perfkit.recording.wording import finding_of, place, select_at


def detect(profile: Profile, settings: Settings) -> list[Finding]:
    """Find attributes that could not be loaded where they were read; one is enough."""
    return [_finding(call, profile) for call in profile.refused_loads]


def _finding(call: Call, profile: Profile) -> Finding:
    model = call.name.partition(".")[0]
    fix = advice = f"load {call.name} along, by the options of the select that loads {model}"
    origin = cure = None
    for source in profile.brought_by(Counter(call.keys)):
        option = _option(call, source)
        if option is not None and source.filename and source.lineno:
            origin = (source.filename, source.lineno)
            cure, fix = replace(option, sent=sent_by(source)), option.code
            instead = " in the place of the one that refuses it" if option.replaces else ""
            advice = f"add {fix} to {select_at(*origin)}{instead}"
            break
    message = (
        f"{call.name} was not loaded along, and loading it when it is read is refused "
        f"{place(call, profile)}; {advice}"
    )
    return finding_of(
        "n_plus_one", call, profile, message=message, fix=fix, origin=origin, cure=cure
    )


def _option(call: Call, source: Cause) -> LoaderOption | None:
    """Return the option that loads it along; None where the statement takes none as code."""
    model, _, name = call.name.partition(".")
    issued = known(source.issued)
    if issued is None or source.reason.subject != model or not source.reason.of_objects:
        return None
    owner = class_of(issued)
    if call.kind == "refused_column":
        option = option_for(issued, (), ColumnStep("undefer", owner, name))
    else:
        option = option_for(issued, (LoaderStep(owner, name, "selectinload"),))
    return None if option is None or option.is_of_alias else option
