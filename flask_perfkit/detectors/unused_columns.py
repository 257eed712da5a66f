"""unused_columns: wide columns loaded for many rows and never read.

Found where reads of attributes are noted, in debug and tests.
"""

from __future__ import annotations

from dataclasses import replace

from flask_perfkit.config import Settings
from flask_perfkit.cures.loaders import LoaderOption, defer_option
from flask_perfkit.detectors.loading import sent_by
from flask_perfkit.detectors.touching import is_idle, shows_reads
from flask_perfkit.detectors.wholes import may_go_whole
from flask_perfkit.recording.cause import Cause
from flask_perfkit.recording.findings import Finding
from flask_perfkit.recording.issued import known
from flask_perfkit.recording.profile import Profile
from flask_perfkit.recording.wording import finding_of, place

_MANY_ROWS = 10
_WIDE = 200


def detect(profile: Profile, settings: Settings) -> list[Finding]:
    """Find selects with columns that took space and time for nothing, one finding a select."""
    touched = profile.touched
    if touched is None or not shows_reads(profile):
        return []
    findings = []
    for cause in profile.causes:
        wide = sorted(
            (
                (width, name)
                for name, width in cause.widths.items()
                if width >= _WIDE and is_idle(name, touched)
            ),
            reverse=True,
        )
        if not wide or cause.most_rows < _MANY_ROWS:
            continue
        if not may_go_whole(cause, cause.reason.entity, profile):
            findings.append(_finding(cause, profile, wide))
    return findings


def _finding(cause: Cause, profile: Profile, wide: list[tuple[float, str]]) -> Finding:
    names = [name for _, name in wide]
    size = sum(width for width, _ in wide) * cause.rows / 1024
    cure = _deferring(cause, names)
    if cure:
        fix = ", ".join(option.code for option in cure)
        advice = f"add {fix}, or name what is needed with load_only()"
    else:
        fix = advice = f"leave {', '.join(names)} out, with defer() or load_only()"
    message = (
        f"{', '.join(names)} loaded for {cause.rows:,} rows (about {size:,.0f} KB) "
        f"{place(cause, profile)} and never read; {advice}"
    )
    return finding_of(
        "unused_columns", cause, profile, message=message, fix=fix, subject=names[0], cure=cure
    )


def _deferring(cause: Cause, names: list[str]) -> tuple[LoaderOption, ...]:
    """Return the options that leave columns out; none where the code cannot put each there.

    What a loader option brought, by a join or a select of its own, would need the option's way.
    """
    issued = known(cause.issued)
    if issued is None or cause.reason.kind != "statement":
        return ()
    sent = sent_by(cause)
    found = [defer_option(issued, name) for name in names]
    options = tuple(
        replace(each, sent=sent) for each in found if each is not None and not each.is_of_alias
    )
    return options if len(options) == len(names) else ()
