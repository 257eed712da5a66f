"""Writes what was found to the log ``flask_perfkit``: each place in full once, then in short."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from flask_perfkit.faults import log_once
from flask_perfkit.recording.allowances import Allowance
from flask_perfkit.recording.findings import Finding
from flask_perfkit.recording.profile import Profile
from flask_perfkit.recording.wording import counted, line, milliseconds
from flask_perfkit.sinks.hearing import hear
from flask_perfkit.sinks.places import Places, Seen

logger = logging.getLogger("flask_perfkit")

_MOST_A_PROFILE = 10
_MOST_ALLOWANCES = 1_000
_said: set[Allowance] = set()

_LEVELS = {"error": logging.WARNING, "warning": logging.WARNING, "info": logging.INFO}


class FindingLog:
    """The sink that logs what was found.

    A finding of one place is told in full once. From then on it is told once an interval how
    often it was seen since, and how much time that took.

    :param interval: seconds; 0 tells each finding each time.
    :param open_log: called before the first finding: a worker may have no first request.
    """

    def __init__(self, interval: float, open_log: Callable[[], object] = bool) -> None:
        self._is_quiet = interval > 0
        self._places = Places(interval)
        self._open_log = open_log
        self._is_open = False

    def __call__(self, profile: Profile) -> None:
        """Log the findings of a profile, the worst ten of those that are new."""
        if profile.findings and not self._is_open:
            self._is_open = True
            self._open_log()
        hear(logger)
        heard = [each for each in profile.findings if logger.isEnabledFor(_LEVELS[each.severity])]
        if not self._is_quiet:
            for finding in heard:
                log_finding(finding, profile)
            return
        told, left = 0, 0
        for finding in heard:
            seen = self._places.see(_place(finding), finding.duration, tells=told < _MOST_A_PROFILE)
            if seen is None:
                left += told >= _MOST_A_PROFILE
                continue
            told += 1
            if seen.times:
                _log_again(finding, profile, seen)
            else:
                log_finding(finding, profile)
        if left:
            self._log_left(profile, left)

    def _log_left(self, profile: Profile, left: int) -> None:
        if self._places.see(("", profile.endpoint), 0.0) is not None:
            say(
                logging.WARNING,
                f"{counted(left, 'more finding')} of {profile.endpoint or 'the same block'} not "
                "listed: flask perfkit audit and the signal request_profiled have all of them",
                endpoint=profile.endpoint,
                method=profile.method,
            )


def log_finding(finding: Finding, profile: Profile | None = None) -> None:
    """Log one finding in full: information at INFO, the rest at WARNING.

    The record has ``finding`` (a dictionary), ``endpoint`` and ``method`` for structured logs.
    """
    say(_LEVELS[finding.severity], finding.message, **_fields(finding, profile))


def _log_again(finding: Finding, profile: Profile, seen: Seen) -> None:
    at = f" of {finding.endpoint}" if finding.endpoint else ""
    if finding.filename is not None:
        at = f" at {line(finding.filename, finding.lineno)}"
    often = "once more" if seen.times == 1 else counted(seen.times, "more time")
    say(
        _LEVELS[finding.severity],
        f"{finding.kind}: {finding.subject}{at}, seen {often} since {seen.since:%Y-%m-%d %H:%M:%S} "
        f"({milliseconds(seen.seconds)} in all); {finding.fix}",
        **_fields(finding, profile),
        times=seen.times,
        seconds=seen.seconds,
    )


def _place(finding: Finding) -> tuple[object, ...]:
    """Return what makes a finding the same as one before: its line, else its endpoint."""
    at = finding.endpoint if finding.filename is None else finding.filename
    return finding.kind, hash(finding.subject), at, finding.lineno


def _fields(finding: Finding, profile: Profile | None) -> dict[str, Any]:
    return {
        "finding": finding.to_dict(),
        "endpoint": finding.endpoint,
        "method": profile.method if profile is not None else None,
    }


def say(level: int, text: str, **fields: Any) -> None:
    """Log a text; a handler of the host that fails does not stop what is said next.

    :param fields: what the record has for structured logs.
    """
    try:
        hear(logger)
        logger.log(level, "%s", text, extra=fields)
    except Exception:
        log_once("a log handler")


def log_unmatched(profile: Profile) -> None:
    """Warn of allowances that have nothing to allow any more, once for each place."""
    for allowance in profile.unmatched:
        if allowance in _said or len(_said) >= _MOST_ALLOWANCES:
            continue
        _said.add(allowance)
        reason = f" (its reason: {allowance.reason})" if allowance.reason else ""
        place = line(allowance.filename, allowance.lineno)
        say(logging.WARNING, f"{allowance} at {place} matches nothing any more: remove it{reason}")
