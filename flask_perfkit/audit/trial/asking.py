"""Asks a recorded GET again, as a trial: what came back, and what it took."""

from __future__ import annotations

from collections.abc import Callable
from time import process_time
from typing import TYPE_CHECKING, NamedTuple

from flask_perfkit.audit.trial.limits import MOST_BYTES, Trial, TrialEnded, limited
from flask_perfkit.bypass import without_caches, without_findings

if TYPE_CHECKING:
    from flask import Flask
    from werkzeug.test import TestResponse

    from flask_perfkit.state import Replay

Answer = tuple[int, bytes]
"""A status and a body."""

Ask = Callable[[], Answer]
"""Asks for something once, and returns what has to stay the same."""


class Outcome(NamedTuple):
    """What one trial gave: an answer, or why it was ended; seconds of the processor."""

    answer: Answer | None
    statements: int
    seconds: float
    ended: str | None = None


def asking_again(app: Flask, replay: Replay) -> Ask:
    """Return what asks for a recorded GET as it was asked."""

    def ask() -> Answer:
        client = app.test_client(use_cookies=False)
        response = client.get(
            headers=list(replay.headers),
            environ_overrides={"PATH_INFO": replay.path, "QUERY_STRING": replay.query},
        )
        return response.status_code, body_of(response)

    return ask


def body_of(response: TestResponse) -> bytes:
    """Read a body up to the limit of bytes, and close the response.

    :raises TrialEnded: there is more of it.
    """
    parts, size = [], 0
    try:
        for part in response.iter_encoded():
            parts.append(part)
            size += len(part)
            if size > MOST_BYTES:
                raise TrialEnded(f"its body has more than {MOST_BYTES:,} bytes")
    finally:
        response.close()
    return b"".join(parts)


def outcome_of(ask: Ask, trial: Trial | None = None) -> Outcome:
    """Ask once, within the limits; an error that the application passes on is a 500."""
    trial = trial or Trial()
    answer: Answer | None = None
    started = process_time()
    try:
        with limited(trial), without_caches(), without_findings():
            answer = ask()
    except TrialEnded as ended:
        trial.ended = trial.ended or str(ended)
    except Exception as error:
        answer = 500, repr(error).encode()
    seconds = process_time() - started
    return Outcome(answer if trial.ended is None else None, trial.statements, seconds, trial.ended)
