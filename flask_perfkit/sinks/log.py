"""Writes each finding to the log ``flask_perfkit``."""

from __future__ import annotations

import logging

from flask_perfkit.profile import Profile

logger = logging.getLogger("flask_perfkit")

_LEVELS = {"error": logging.WARNING, "warning": logging.WARNING, "info": logging.INFO}


def log_findings(profile: Profile) -> None:
    """Log what was found, a line a finding: information at INFO, the rest at WARNING."""
    for finding in profile.findings:
        logger.log(_LEVELS[finding.severity], "%s", finding.message)
