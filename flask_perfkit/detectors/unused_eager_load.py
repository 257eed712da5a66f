"""unused_eager_load: a relationship loaded along that nothing touched.

Found where reads of attributes are noted, in debug and tests.
"""

from __future__ import annotations

from collections.abc import Iterator

from flask_perfkit.config import Settings
from flask_perfkit.detectors.touching import is_idle
from flask_perfkit.detectors.wording import finding_of, milliseconds, place
from flask_perfkit.findings import Finding
from flask_perfkit.profile import Cause, Profile

_ALONG = ("joinedload",)


def detect(profile: Profile, settings: Settings) -> list[Finding]:
    """Find eager loads, in a join or in statements of their own, that were for nothing."""
    if profile.touched is None or (profile.status or 0) >= 500:
        return []
    return [
        _finding(name, cause, profile)
        for cause in profile.causes
        if cause.rows
        for name in _loaded_along(cause)
        if is_idle(name, profile.touched)
    ]


def _loaded_along(cause: Cause) -> Iterator[str]:
    if cause.reason.kind == "batch":
        yield cause.reason.subject
    for eager in cause.reason.eager:
        if eager.steps and eager.steps[-1].loader in _ALONG:
            yield str(eager.steps[-1])


def _finding(name: str, cause: Cause, profile: Profile) -> Finding:
    loader = "its own statement" if cause.reason.kind == "batch" else "a join"
    fix = f"drop the option that loads {name}"
    message = (
        f"{name} was loaded in {loader} ({milliseconds(cause.time)}) {place(cause)} and nothing "
        f"touched it; {fix}"
    )
    return finding_of("unused_eager_load", cause, profile, message=message, fix=fix, subject=name)
