"""Ask each address once, collect what is found, and try the fixes that can be tried."""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import Context
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from flask_perfkit.advice.advice import Advice
from flask_perfkit.advice.advise import advise
from flask_perfkit.advice.check import Check
from flask_perfkit.advice.planners.locks import DatabaseLocked
from flask_perfkit.advice.workload import RecordedStatement
from flask_perfkit.audit.advised import findings_of
from flask_perfkit.audit.asking import DEFAULT_LIMITS, Limits, Visit
from flask_perfkit.audit.endpoints import Address
from flask_perfkit.audit.proof import Proof, is_provable, prove
from flask_perfkit.audit.sources import source_checks
from flask_perfkit.audit.survey import Progress, Survey, nothing_logged, survey
from flask_perfkit.errors import SetupError
from flask_perfkit.faults import log_once
from flask_perfkit.recording.findings import Finding
from flask_perfkit.recording.profile import Profile

if TYPE_CHECKING:
    from flask import Flask


@dataclass(frozen=True)
class Problem:
    """One cause: its worst finding, and every address that shows it.

    ``cost`` is in seconds: what all these addresses spend on it when each is asked once.
    """

    finding: Finding
    addresses: tuple[tuple[str, str], ...]
    cost: float
    proof: Proof | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as plain data that JSON can hold, with where it shows."""
        addresses = [{"endpoint": name, "path": path} for name, path in self.addresses]
        return {**self.finding.to_dict(), "addresses": addresses, "cost": self.cost}


@dataclass(frozen=True)
class Audit:
    """What an audit asked for and found.

    ``missed`` are the addresses of which nothing is known, good or bad, with the reason.
    ``interrupted`` says that it was ended before all were asked, ``is_measured`` that the
    application shows its figures to Prometheus. ``advice`` is on indexes; None where it was not
    asked for or could not be given, ``no_advice`` says why.
    """

    visits: tuple[Visit, ...]
    problems: tuple[Problem, ...]
    missed: tuple[Address, ...]
    interrupted: bool = False
    is_measured: bool = False
    advice: Advice | None = None
    no_advice: str = ""
    source_checks: tuple[Check, ...] = ()

    @property
    def checks(self) -> tuple[Check, ...]:
        """What schema, statements and source show without being measured."""
        schema = self.advice.checks if self.advice is not None else ()
        return (*self.source_checks, *(one for one in schema if one.kind != "unused_index"))

    @property
    def profiles(self) -> tuple[Profile, ...]:
        """The requests that were made."""
        return tuple(visit.profile for visit in self.visits if visit.profile is not None)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found, the most expensive first."""
        return tuple(problem.finding for problem in self.problems)

    @property
    def proofs(self) -> tuple[Proof, ...]:
        """What came of the fixes that were tried."""
        return tuple(problem.proof for problem in self.problems if problem.proof is not None)

    @property
    def failed(self) -> tuple[Visit, ...]:
        """The addresses that failed, or that were asked for by name and are not there."""
        return tuple(visit for visit in self.visits if visit.has_failed or visit.is_gone)

    @property
    def locked(self) -> tuple[str, ...]:
        """What gets no advice, as others held a lock on it: tables, or all of a database."""
        return self.advice.locked if self.advice is not None else ()

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data that JSON can hold."""
        return {
            "requests": [_plain(visit) for visit in self.visits],
            "findings": [problem.to_dict() for problem in self.problems],
            "proofs": [proof.to_dict() for proof in self.proofs],
            "not_audited": [address._asdict() for address in self.missed],
            "checks": [vars(check) for check in self.checks],
            "interrupted": self.interrupted,
            "index_advice": self.advice.to_dict() if self.advice is not None else None,
        }


def _plain(visit: Visit) -> dict[str, Any]:
    profile = visit.profile
    return {
        "endpoint": profile.endpoint if profile else visit.address.endpoint or None,
        "path": visit.address.path,
        "status": visit.status,
        "queries": profile.query_count if profile else None,
        "duration": profile.duration if profile else None,
        "notes": list(visit.notes),
    }


def audit(
    app: Flask,
    *,
    paths: Iterable[str] = (),
    headers: Iterable[tuple[str, str]] = (),
    login: str | None = None,
    limits: Limits = DEFAULT_LIMITS,
    prove_fixes: bool = False,
    with_indexes: bool = False,
    recorded: Iterable[RecordedStatement] = (),
    progress: Progress = lambda address, number, total: None,
) -> Audit:
    """Ask an application for each of its addresses, and report what was found.

    :param prove_fixes: try each loader option on the request that it was found in.
    :param with_indexes: advise on the indexes of what was asked, too.
    :param recorded: further statements to advise on.
    :raises SetupError: as ``survey`` does, which has the other parameters.
    """
    seen = survey(app, paths=paths, headers=headers, login=login, limits=limits, progress=progress)
    seen.workload.include(recorded)
    problems = _problems(seen.visits)
    advice, no_advice = None, ""
    if with_indexes:
        advice, no_advice = _advice(seen)
    problems += [Problem(finding, (), 0.0) for finding in findings_of(advice or Advice())]
    problems.sort(key=_costliest_first)
    if prove_fixes and not seen.interrupted:
        with nothing_logged():
            problems = [_proven(app, problem) for problem in problems]
    findings = (problem.finding for problem in problems)
    places = {(each.filename or "", each.lineno or 0) for each in findings}
    return Audit(
        seen.visits,
        tuple(problems),
        seen.missed,
        seen.interrupted,
        app.extensions["perfkit"].settings.metrics_path is not None,
        advice,
        no_advice,
        tuple(source_checks(app, places)),
    )


def _advice(seen: Survey) -> tuple[Advice | None, str]:
    """Advise on what was asked; where that cannot be, say why."""
    if seen.interrupted:
        return None, "it was interrupted"
    with nothing_logged(), seen.workload.app.app_context():
        try:
            return advise(seen.workload, guessed=True), ""
        except DatabaseLocked:
            return Advice(locked=("the database",)), ""
        except SetupError as error:
            return None, str(error)
        except Exception as error:
            log_once("the index advice of an audit")
            return None, f"{type(error).__name__}: {error}"


def _problems(visits: Iterable[Visit]) -> list[Problem]:
    """Put together what several addresses show alike, costliest first, advice by the way last."""
    found: dict[object, list[tuple[Finding, Visit]]] = {}
    for visit in visits:
        for finding in visit.profile.findings if visit.profile is not None else ():
            found.setdefault(_cause(finding), []).append((finding, visit))
    return sorted(map(_problem, found.values()), key=_costliest_first)


def _costliest_first(problem: Problem) -> tuple[bool, float]:
    return problem.finding.severity == "info", -problem.cost


_OF_THE_APPLICATION = frozenset({"uncompressed_response", "uncached_static"})
"""Kinds that one setting of the application or its server cures everywhere."""


def _cause(finding: Finding) -> object:
    if finding.kind in _OF_THE_APPLICATION:
        return finding.kind
    place = (finding.filename, finding.lineno, finding.origin)
    # Where no line is known, the endpoint is the place, but for what a library does for many.
    elsewhere = finding.library or finding.endpoint
    return finding.kind, finding.subject, finding.sql, place if any(place) else elsewhere


def _problem(shown: list[tuple[Finding, Visit]]) -> Problem:
    shown.sort(key=lambda each: (each[0].duration, _bytes_sent(each[1])), reverse=True)
    worst, _ = shown[0]
    addresses = ((finding.endpoint or "", str(visit.address.path)) for finding, visit in shown)
    return Problem(
        worst, tuple(dict.fromkeys(addresses)), sum(finding.duration for finding, _ in shown)
    )


def _bytes_sent(visit: Visit) -> int:
    answer = visit.profile.answer if visit.profile is not None else None
    return (answer.length or 0) if answer is not None else 0


def _proven(app: Flask, problem: Problem) -> Problem:
    if not is_provable(problem.finding):
        return problem
    return replace(problem, proof=Context().run(prove, app, problem.finding))
