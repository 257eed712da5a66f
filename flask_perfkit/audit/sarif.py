"""An audit as SARIF 2.1.0, which code hosts and editors show on the lines of the source.

The format is OASIS's: https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any

from flask_perfkit.audit.audit import Audit, Problem
from flask_perfkit.recording.findings import SEVERITIES, Finding
from flask_perfkit.recording.wording import counted

_LEVELS = {"error": "error", "warning": "warning", "info": "note"}
_SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)


def sarif_of(audit: Audit, root: Path) -> dict[str, Any]:
    """Return an audit as a SARIF log.

    :param root: the directory that the paths of files are told from, as a code host does.
    """
    kinds = sorted({problem.finding.kind for problem in audit.problems})
    driver = {
        "name": "Flask-PerfKit",
        "version": version("flask-perfkit"),
        "rules": [_rule(kind) for kind in kinds],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "invocations": [{"executionSuccessful": not audit.interrupted}],
        "results": [_result(problem, kinds, root) for problem in audit.problems],
    }
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(kind: str) -> dict[str, Any]:
    return {
        "id": kind,
        "name": "".join(word.capitalize() for word in kind.split("_")),
        "shortDescription": {"text": kind.replace("_", " ")},
        "defaultConfiguration": {"level": _LEVELS[SEVERITIES[kind]]},
    }


def _result(problem: Problem, kinds: list[str], root: Path) -> dict[str, Any]:
    finding = problem.finding
    result: dict[str, Any] = {
        "ruleId": finding.kind,
        "ruleIndex": kinds.index(finding.kind),
        "level": _LEVELS[finding.severity],
        "message": {"text": finding.message},
        "partialFingerprints": {"perfkitCause/v1": _fingerprint(finding, root)},
        "properties": {
            "addresses": [path for _, path in problem.addresses],
            "seconds": problem.cost,
        },
    }
    if finding.filename is not None:
        result["locations"] = [_location(finding.filename, finding.lineno, root)]
    related = list(_related(finding))
    if related:
        result["relatedLocations"] = [
            {**_location(filename, lineno, root), "id": number, "message": {"text": text}}
            for number, (filename, lineno, text) in enumerate(related)
        ]
    return result


def _related(finding: Finding) -> Iterable[tuple[str, int, str]]:
    if finding.origin is not None:
        yield (*finding.origin, "the statement that loaded the rows")
    for filename, lineno, count in finding.callers:
        yield filename, lineno, f"called from here {counted(count, 'time')}"


def _location(filename: str, lineno: int | None, root: Path) -> dict[str, Any]:
    region = {} if lineno is None else {"region": {"startLine": max(lineno, 1)}}
    return {"physicalLocation": {"artifactLocation": {"uri": _uri(filename, root)}, **region}}


def _uri(filename: str, root: Path) -> str:
    """Return a file as a URI, relative to the root where it lies below it."""
    path = Path(filename)
    if not path.is_absolute():
        return path.as_posix()
    try:
        return path.relative_to(root).as_posix()
    except ValueError:
        return path.as_uri()


def _fingerprint(finding: Finding, root: Path) -> str:
    """Return what a cause is known by in the next audit, though its line has moved meanwhile."""
    file = _uri(finding.filename, root) if finding.filename else ""
    parts = (finding.kind, finding.subject, file, finding.function or "", finding.sql or "")
    return sha256("\0".join(parts).encode()).hexdigest()[:32]
