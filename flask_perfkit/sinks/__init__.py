"""Where profiles and their findings go: each sink shows, sends or raises them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from flask_perfkit.errors import FindingError
from flask_perfkit.faults import log_once
from flask_perfkit.recording.profile import Profile

Sink = Callable[[Profile], None]


def deliver(profile: Profile, sinks: Iterable[Sink]) -> None:
    """Give a profile to each sink; one that fails is logged once and skipped.

    :raises FindingError: a sink is there to raise findings.
    """
    for sink in sinks:
        try:
            sink(profile)
        except FindingError:
            raise
        except Exception:
            log_once(f"the sink {getattr(sink, '__qualname__', type(sink).__name__)}")
