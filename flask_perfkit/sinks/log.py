"""Writes each finding to the log ``flask_perfkit``."""

from __future__ import annotations

import logging

from flask_perfkit.faults import log_once
from flask_perfkit.findings import Finding
from flask_perfkit.profile import Profile

logger = logging.getLogger("flask_perfkit")

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
