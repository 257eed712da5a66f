"""What happens when our own code fails: it is logged once and the host goes on."""

from __future__ import annotations

import contextlib
import logging
import sys

logger = logging.getLogger("flask_perfkit")

_MOST_PLACES = 1000
_seen: set[tuple[str, str]] = set()


def log_once(place: str) -> None:
    """Log the exception being handled, the first time it occurs at this place.

    A log handler of the host that fails is passed over: nothing leaves this function.
    """
    error = sys.exc_info()[1]
    key = (place, type(error).__name__)
    if key in _seen or len(_seen) >= _MOST_PLACES:
        return
    _seen.add(key)
    with contextlib.suppress(Exception):
        logger.exception(
            "PerfKit goes on, no request is harmed: %s failed and was skipped (said once): %s: %s",
            place,
            type(error).__name__,
            error,
        )
