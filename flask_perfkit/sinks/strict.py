"""Raises findings, for tests and for those who want none."""

from __future__ import annotations

from flask_perfkit.errors import FindingError
from flask_perfkit.recording.profile import Profile


def raise_findings(profile: Profile) -> None:
    """Raise what was found, all of it in one error; what only a library can fix is left out.

    :raises FindingError: the profile has a finding.
    """
    findings = tuple(finding for finding in profile.findings if finding.library is None)
    if findings:
        raise FindingError(findings)
