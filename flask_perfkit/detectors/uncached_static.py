"""uncached_static: a static file that every visitor asks for again."""

from __future__ import annotations

from flask_perfkit.config import Settings
from flask_perfkit.recording.findings import Finding
from flask_perfkit.recording.profile import Profile
from flask_perfkit.recording.wording import finding_of_request

_LASTING = 86_400
_FIX = (
    "a fingerprint in the file's name with SEND_FILE_MAX_AGE_DEFAULT of a year, or WhiteNoise or "
    "a CDN, which do both"
)


def detect(profile: Profile, settings: Settings) -> list[Finding]:
    """Find a static file that a browser may use for less than a day without asking.

    Behind a proxy nothing is said: what it adds cannot be seen from here.
    """
    answer = profile.answer
    if answer is None or not answer.is_static or answer.through_proxy or profile.status != 200:
        return []
    if answer.lasts is not None and answer.lasts >= _LASTING:
        return []
    return [
        finding_of_request(
            "uncached_static",
            profile,
            f"the file {profile.path} was sent without a lasting Cache-Control, so browsers "
            f"request it again: use {_FIX}",
            _FIX,
        )
    ]
