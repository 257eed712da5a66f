"""Counts the findings of requests for Prometheus."""

from __future__ import annotations

from flask_perfkit.metrics.store.figures import figures
from flask_perfkit.recording.profile import Profile


def count_findings(profile: Profile) -> None:
    """Count each finding under the route of its request; commands and blocks have none."""
    if profile.method is not None:
        for finding in profile.findings:
            figures.count_finding(profile.mount, profile.rule, finding.kind)
