"""Causes and profiles written by hand, for detectors: no application, no database."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from sqlalchemy.dialects import sqlite

from flask_perfkit.recording.cause import Cause, Executions
from flask_perfkit.recording.eager import Step
from flask_perfkit.recording.fingerprint import Comparison, shape_of
from flask_perfkit.recording.issued import Issued, issued_of
from flask_perfkit.recording.profile import Profile
from flask_perfkit.recording.reason import Reason
from flask_perfkit.recording.tables import tables_in

VIEWS = "/srv/shop/views.py"
"""Where the causes lie unless they say another line."""

USER, DOCUMENT, TAG = ("shop.User",), ("shop.Document",), ("shop.Tag",)

_COMPILED: list[Any] = []
"""What SQLAlchemy's cache would keep."""

TO_ONE = Step("Document", "user", to_many=False)
TO_MANY = Step("User", "documents", to_many=True)
TO_TAGS = Step("Document", "tags", to_many=True)


def cause(
    sql: str,
    reason: Reason | None = None,
    *,
    count: int = 1,
    at: int = 41,
    different: int | None = None,
    started: int = 0,
    moves: tuple[tuple[str, str], ...] = (),
    callers: dict[int, int] | None = None,
    **more: Any,
) -> Cause:
    """Make a cause of ``count`` executions of a millisecond each.

    :param at: its line; below zero it lies in no application code.
    :param different: how many sets of parameters it had, all of them unless set.
    :param started: when the first began, in milliseconds; one follows the other.
    :param callers: line -> how often it called from there.
    """
    moments = tuple((started + number) * 1_000_000 for number in range(count))
    ended = tuple(moment + 1_000_000 for moment in moments)
    nothing = (None,) * count
    values: dict[str, Any] = {
        "operation": sql.partition(" ")[0],
        "filename": VIEWS if at > 0 else None,
        "lineno": at if at > 0 else None,
        "function": "show" if at > 0 else None,
        "count": count,
        "direct": count,
        "duration": count / 1000,
        "slowest": 0.001,
        "keys": shape_of(sql).keys * count,
        "chunks": Counter({keys: count} if (keys := shape_of(sql).keys) else ()),
        "values": set(range(count if different is None else different)),
        "moves": dict.fromkeys((Comparison(*move) for move in moves), True),
        "callers": Counter({(VIEWS, line): times for line, times in (callers or {}).items()}),
        "executions": [Executions(moments, ended, nothing, (0,) * count, nothing)],
    }
    reason = reason or Reason("statement", "Document", DOCUMENT)
    reason = replace(reason, tables=tables_in(None, sql))
    return Cause(sql=shape_of(sql).text, reason=reason, **(values | more))


def issued(statement: Any) -> Issued:
    """Return a statement as a hook would have it from SQLAlchemy."""
    compiled = statement.compile(dialect=sqlite.dialect())
    _COMPILED.append(compiled)
    made = issued_of(compiled, {})
    assert made is not None
    return made


def profile(*causes: Cause, **more: Any) -> Profile:
    """Make the profile of a request that answered 200 in ten milliseconds."""
    values: dict[str, Any] = {"endpoint": "shop.show", "status": 200, "duration": 0.01}
    return Profile(causes=causes, **(values | more))


def lazy(step: Step, *, entity: tuple[str, ...], parents: tuple[str, ...]) -> Reason:
    """Make the reason of a lazy load."""
    return Reason("lazy", str(step), entity, parents, (step,))
