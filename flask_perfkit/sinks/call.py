"""Gives each finding to a function of the application."""

from __future__ import annotations

from collections.abc import Callable

from flask_perfkit.faults import log_once
from flask_perfkit.recording.findings import Finding
from flask_perfkit.recording.profile import Profile
from flask_perfkit.sinks import Sink


def call_with_findings(function: Callable[[Finding], object]) -> Sink:
    """Return a sink that calls ``function`` for each finding; its errors are logged once."""

    def call(profile: Profile) -> None:
        for finding in profile.findings:
            try:
                function(finding)
            except Exception:
                log_once("PERFKIT_ON_FINDING")

    return call
