"""What a new endpoint is held against: a list of what each of them shows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from flask_perfkit.audit.asking import Visit
from flask_perfkit.audit.audit import Audit

_LOOPS = frozenset({"n_plus_one", "n_plus_one_write", "n_plus_one_cache", "duplicate_query"})
_WAITS = frozenset({"slow_request", "slow_query", "blocking_call", "redis_keys"})
_WASTES = frozenset({"cartesian_product", "python_aggregation", "unused_columns"})
_MUCH_MEMORY = 20_000_000

CHECKS = ("bounded", "no N+1", "quick", "lean", "indexed", "cached", "measured")
"""The columns of the list, each with what it asks in :func:`_answers`."""


class Row(NamedTuple):
    """An endpoint with an answer for each check: True, False, or None where it is not known."""

    endpoint: str
    answers: tuple[bool | None, ...]


def checklist(audit: Audit) -> Iterator[Row]:
    """Yield a row for each endpoint that was seen; what one of its addresses fails, it fails."""
    rows: dict[str, tuple[bool | None, ...]] = {}
    for visit in audit.visits:
        profile = visit.profile
        if not visit.was_seen or profile is None or profile.endpoint is None:
            continue
        answers = tuple(_answers(visit, audit))
        before = rows.get(profile.endpoint, answers)
        rows[profile.endpoint] = tuple(map(_both, before, answers))
    for endpoint, answers in rows.items():
        yield Row(endpoint, answers)


def _answers(visit: Visit, audit: Audit) -> Iterator[bool | None]:
    kinds = {finding.kind for finding in visit.profile.findings} if visit.profile else set()
    yield "unbounded_result" not in kinds and not _is_unlimited(visit, audit)
    yield not kinds & _LOOPS
    yield not kinds & _WAITS
    yield not kinds & _WASTES and visit.memory < _MUCH_MEMORY
    yield _is_indexed(visit, audit)
    yield visit.is_cacheable or None  # whether it should be is not for us to say
    yield audit.is_measured


def _is_unlimited(visit: Visit, audit: Audit) -> bool:
    """Tell whether an endpoint selects all of a table that is small by now."""
    return any(
        check.kind == "no_limit" and check.subject == visit.endpoint for check in audit.checks
    )


def _is_indexed(visit: Visit, audit: Audit) -> bool | None:
    """Tell whether no index is advised for what an endpoint asks; not known without all advice."""
    if audit.advice is None or visit.profile is None:
        return None
    if any(visit.profile.endpoint in create.endpoints for create in audit.advice.create):
        return False
    return None if audit.locked else True


def _both(one: bool | None, other: bool | None) -> bool | None:
    return False if False in (one, other) else one if other is None else other
