"""Ask each address once, collect what is found, and try the fixes that can be tried."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import Context
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from flask_perfkit.advice.advice import Advice
from flask_perfkit.advice.advise import advise
from flask_perfkit.advice.workload import Workload
from flask_perfkit.audit.advised import findings_of
from flask_perfkit.audit.asking import DEFAULT_LIMITS, Asker, Limits, Visit
from flask_perfkit.audit.endpoints import Address, addresses_of
from flask_perfkit.audit.filters import filtered
from flask_perfkit.audit.login import clients
from flask_perfkit.audit.proof import Proof, is_provable, prove
from flask_perfkit.audit.trial.untouched import nothing_kept
from flask_perfkit.errors import SetupError
from flask_perfkit.faults import log_once
from flask_perfkit.hooks.attributes import watch_attributes
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

    @property
    def profiles(self) -> tuple[Profile, ...]:
        """The requests that were made."""
        return tuple(visit.profile for visit in self.visits if visit.profile is not None)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found, the dearest first."""
        return tuple(problem.finding for problem in self.problems)

    @property
    def proofs(self) -> tuple[Proof, ...]:
        """What came of the fixes that were tried."""
        return tuple(problem.proof for problem in self.problems if problem.proof is not None)

    @property
    def failed(self) -> tuple[Visit, ...]:
        """The addresses that failed, or that were asked for by name and are not there."""
        return tuple(visit for visit in self.visits if visit.has_failed or visit.is_gone)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain data that JSON can hold."""
        return {
            "requests": [_plain(visit) for visit in self.visits],
            "findings": [problem.to_dict() for problem in self.problems],
            "proofs": [proof.to_dict() for proof in self.proofs],
            "not_audited": [address._asdict() for address in self.missed],
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
    progress: Callable[[Address, int, int], object] = lambda address, number, total: None,
) -> Audit:
    """Ask an application for each of its addresses, in this process and by GET only.

    Its caches are passed by, so that what they hide is seen. What it writes to its databases
    is rolled back. Ctrl-C ends the asking; what was found so far is returned.

    :param paths: addresses to ask for beside those that are known.
    :param headers: sent with each request, such as the cookie or the token of one who is logged in.
    :param login: see :func:`flask_perfkit.audit.login.clients`.
    :param prove_fixes: try each loader option on the request that it was found in.
    :param with_indexes: advise on the indexes of what was asked, too.
    :param progress: gets each address before it is asked for, its number and how many there are.
    :raises SetupError: it cannot log in.
    """
    watch_attributes()
    state = app.extensions["perfkit"]
    state.notes_reads = True
    sent = list(headers)
    cookies = "cookie" not in {name.lower() for name, _ in sent}
    addresses = [Address("", path) for path in dict.fromkeys(paths)]
    addresses += [known for known in addresses_of(app) if known.path not in {*paths}]
    addresses += filtered(app, addresses)
    asked = [address for address in addresses if address.path is not None]
    visits: list[Visit] = []
    interrupted = False
    with ExitStack() as stack:
        state.is_audited = True
        stack.callback(setattr, state, "is_audited", False)
        stack.enter_context(_nothing_logged())
        stack.enter_context(nothing_kept())
        workload = stack.enter_context(Workload(app)) if with_indexes else None
        asker = Asker(app, clients(app, login, cookies=cookies), sent, limits)
        try:
            for address in asked[:1]:
                asker.ask(address)  # the first request of a process is slower than it will be
            for number, address in enumerate(asked):
                progress(address, number, len(asked))
                visits.append(asker.ask(address))
        except KeyboardInterrupt:
            interrupted = True
    problems = _problems(visits)
    advice, no_advice = _advice(workload) if not interrupted else (None, "it was interrupted")
    problems += [Problem(finding, (), 0.0) for finding in findings_of(advice or Advice())]
    problems.sort(key=_dearest_first)
    if prove_fixes and not interrupted:
        with _nothing_logged():
            problems = [_proven(app, problem) for problem in problems]
    missed = [address for address in addresses if address.path is None]
    missed += [visit.address._replace(reason=visit.reason) for visit in visits if visit.reason]
    missed += [
        address._replace(reason=f"{address.path} was not asked any more")
        for address in asked[len(visits) :]
    ]
    is_measured = state.settings.metrics_path is not None
    return Audit(
        tuple(visits),
        tuple(problems),
        tuple(missed),
        interrupted,
        is_measured,
        advice,
        no_advice,
    )


def _advice(workload: Workload | None) -> tuple[Advice | None, str]:
    """Advise on what was asked; where that cannot be, say why."""
    if workload is None:
        return None, ""
    with _nothing_logged(), workload.app.app_context():
        try:
            return advise(workload, guessed=True), ""
        except SetupError as error:
            return None, str(error)
        except Exception as error:
            log_once("the index advice of an audit")
            return None, f"{type(error).__name__}: {error}"


def _problems(visits: Iterable[Visit]) -> list[Problem]:
    """Put together what several addresses show alike, the dearest first, advice by the way last."""
    found: dict[object, list[tuple[Finding, Visit]]] = {}
    for visit in visits:
        for finding in visit.profile.findings if visit.profile is not None else ():
            found.setdefault(_cause(finding), []).append((finding, visit))
    return sorted(map(_problem, found.values()), key=_dearest_first)


def _dearest_first(problem: Problem) -> tuple[bool, float]:
    return problem.finding.severity == "info", -problem.cost


_OF_THE_APPLICATION = frozenset({"uncompressed_response", "uncached_static"})
"""Kinds that one setting of the application or its server cures everywhere."""


def _cause(finding: Finding) -> object:
    if finding.kind in _OF_THE_APPLICATION:
        return finding.kind
    place = (finding.filename, finding.lineno, finding.origin)
    # Where no line is known, the endpoint is the place.
    return finding.kind, finding.subject, finding.sql, place if any(place) else finding.endpoint


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


@contextmanager
def _nothing_logged() -> Iterator[None]:
    """Keep findings out of the log while they go into the report."""
    log = logging.getLogger("flask_perfkit")
    was_disabled, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = was_disabled
