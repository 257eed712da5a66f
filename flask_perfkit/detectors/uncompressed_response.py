"""uncompressed_response: a large text that went out as it is to a client that takes less."""

from __future__ import annotations

from flask_perfkit.config import Settings
from flask_perfkit.recording.answer import LARGE_ANSWER, Answer
from flask_perfkit.recording.findings import Finding
from flask_perfkit.recording.profile import Profile
from flask_perfkit.recording.wording import finding_of_request, size

_TEXTS = ("application/json", "application/javascript", "application/xml", "image/svg+xml")
_TEXT_ENDINGS = ("+json", "+xml")
_FIX = "Compress(app) of Flask-Compress, or compression in the server in front"


def detect(profile: Profile, settings: Settings) -> list[Finding]:
    """Find an answer of text over 10 kB without a Content-Encoding.

    Behind a proxy nothing is said: what it compresses cannot be seen from here.
    """
    answer = profile.answer
    if answer is None or profile.status != 200 or not _goes_out_large(answer):
        return []
    return [
        finding_of_request(
            "uncompressed_response",
            profile,
            f"sent {size(answer.length or 0)} of {answer.mimetype} as they are to a client that "
            f"takes compression: use {_FIX}",
            _FIX,
        )
    ]


def _goes_out_large(answer: Answer) -> bool:
    return (
        answer.encoding is None
        and answer.takes_compression
        and not answer.through_proxy
        and (answer.length or 0) >= LARGE_ANSWER
        and _is_text(answer.mimetype)
    )


def _is_text(mimetype: str) -> bool:
    if mimetype == "text/event-stream":
        return False  # compressed, its events would wait for each other
    return mimetype.startswith("text/") or mimetype in _TEXTS or mimetype.endswith(_TEXT_ENDINGS)
