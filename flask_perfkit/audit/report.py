"""An audit as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Sized

from flask_perfkit.audit.audit import Answer, Audit

_AWAY = (302, 303, 307, 401, 403)
"""What an application answers to those who are not logged in."""


def lines_of(audit: Audit) -> Iterator[str]:
    """Yield the report of an audit: findings worst first, proofs, what was not looked at."""
    yield f"{_count(audit.profiles, 'request')}, {_count(audit.findings, 'finding')}"
    proofs = {id(proof.finding): proof for proof in audit.proofs}
    for finding in audit.findings:
        yield ""
        yield f"{finding.severity.upper()}  {finding.endpoint or ''}"
        yield f"  {finding.message}"
        proof = proofs.get(id(finding))
        if proof is not None:
            yield f"  {proof.message}"
    away = [profile for profile in audit.profiles if profile.status in _AWAY]
    if away:
        yield ""
        yield "Turned away, so that nothing was seen of what they do (log in with --header):"
        for profile in away:
            yield f"  {profile.path}: {profile.status}"
    yield from _answers("Answered with an error:", [each for each in audit.failed if each.is_error])
    yield from _answers("Not there:", [each for each in audit.failed if not each.is_error])
    if audit.missed:
        yield ""
        yield "Not audited:"
        for address in audit.missed:
            yield f"  {address.endpoint}: {address.reason}"


def _answers(title: str, answers: Sequence[Answer]) -> Iterator[str]:
    if answers:
        yield ""
        yield title
        yield from (f"  {answer.path}: {answer.status}" for answer in answers)


def _count(things: Sized, name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"
