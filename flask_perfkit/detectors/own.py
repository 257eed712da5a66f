"""Detectors of an application's own, for ``PERFKIT_DETECTORS``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from flask_perfkit.given import CALLED, check_decorated, is_called
from flask_perfkit.recording.findings import Finding, add_kind, allow_covered
from flask_perfkit.recording.profile import Profile

Look = Callable[[Profile], Iterable[Finding]]


@dataclass(frozen=True, eq=False)
class Detector:
    """What :func:`detector` makes of a function; called with a profile it returns the findings."""

    kind: str
    look: Look

    def __call__(self, profile: Profile, settings: object = None) -> list[Finding]:
        """Return what the function finds, allowed where the code allows it.

        :raises TypeError: it returned something else than findings of its kind.
        """
        found = list(self.look(profile))
        for finding in found:
            if not isinstance(finding, Finding) or finding.kind != self.kind:
                raise TypeError(
                    f"it returned {finding!r:.100}; allowed is Finding({self.kind!r}, ...)"
                )
        return [allow_covered(finding, profile.allowances) for finding in found]


def detector(kind: str, *, severity: str = "warning") -> Callable[[Look], Detector]:
    """Make a detector of a function that gets each profile and gives findings of its own kind.

    ::

        @detector("chatty_view", severity="warning")
        def chatty_view(profile):
            if profile.endpoint and profile.query_count > 50:
                yield Finding("chatty_view", profile.endpoint, "chatty_view: ...", "one query")

        app.config["PERFKIT_DETECTORS"] = (chatty_view,)

    The function gets the :class:`Profile` of every request, command and job once it is over, and
    has to be pure: it may be asked twice. One that fails is logged once and skipped.

    :param kind: a name that no other kind has.
    :param severity: ``"error"``, ``"warning"`` or ``"info"``.
    :raises ValueError: one of them is not allowed.
    :raises TypeError: it is put on no function, or on an async one.
    """
    if callable(kind):
        raise TypeError('detector is used bare; write @detector("a_kind", severity="warning")')
    add_kind(kind, severity)

    def make(look: Look) -> Detector:
        check_decorated(look, f"detector({kind!r})")
        if not is_called(look):
            raise TypeError(f"@detector({kind!r}) is put on {look!r:.100}; allowed is {CALLED}")
        return Detector(kind, look)

    return make
