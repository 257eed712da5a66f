"""Writes each finding to the log ``flask_perfkit``, and what need not be allowed any more."""

from __future__ import annotations

import logging

from flask_perfkit.faults import log_once
from flask_perfkit.recording.allowances import Allowance
from flask_perfkit.recording.findings import Finding
from flask_perfkit.recording.profile import Profile
from flask_perfkit.recording.wording import line

logger = logging.getLogger("flask_perfkit")

_MOST_PLACES = 1_000
_said: set[Allowance] = set()

_LEVELS = {"error": logging.WARNING, "warning": logging.WARNING, "info": logging.INFO}


def log_findings(profile: Profile) -> None:
    """Log what was found, a line a finding."""
    for finding in profile.findings:
        log_finding(finding)


def log_finding(finding: Finding) -> None:
    """Log one finding: information at INFO, the rest at WARNING."""
    say(_LEVELS[finding.severity], finding.message)


def say(level: int, text: str) -> None:
    """Log a text; a handler of the host that fails does not stop what is said next."""
    try:
        logger.log(level, "%s", text)
    except Exception:
        log_once("a log handler")


def log_unmatched(profile: Profile) -> None:
    """Warn of allowances that have nothing to allow any more, once for each place."""
    for allowance in profile.unmatched:
        if allowance in _said or len(_said) >= _MOST_PLACES:
            continue
        _said.add(allowance)
        reason = f" (its reason: {allowance.reason})" if allowance.reason else ""
        place = line(allowance.filename, allowance.lineno)
        say(logging.WARNING, f"{allowance} at {place} matches nothing any more: remove it{reason}")
