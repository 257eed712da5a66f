"""cartesian_product: a join that multiplies the rows of two collections."""

from __future__ import annotations

from flask_perfkit.config import Settings
from flask_perfkit.recording.findings import Finding
from flask_perfkit.recording.profile import Cause, Profile
from flask_perfkit.recording.wording import finding_of, milliseconds, place

_FAR_ABOVE = 2


def detect(profile: Profile, settings: Settings) -> list[Finding]:
    """Find selects that fetched far more rows than their branches have by themselves."""
    return [_finding(cause, profile) for cause in profile.causes if _is_product(cause)]


def _is_product(cause: Cause) -> bool:
    rows, expected = cause.joined
    return 0 < expected * _FAR_ABOVE <= rows


def _finding(cause: Cause, profile: Profile) -> Finding:
    rows, expected = cause.joined
    loaders = [f"selectinload({name})" for name in cause.collections]
    fix = loaders[-1] if loaders else f"select({cause.reason.subject}).distinct(), or exists()"
    message = (
        f"{rows:,} rows fetched where {expected:,} would do "
        f"({milliseconds(cause.time)}) {place(cause, profile)}: the joins multiply each other; "
        f"use {fix}"
    )
    return finding_of("cartesian_product", cause, profile, message=message, fix=fix)
