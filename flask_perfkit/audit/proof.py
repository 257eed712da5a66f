"""Tries a loader option: a recorded GET is asked again with it, and nothing of that is kept.

The option goes into the statement that the finding names as its origin. The fix holds if
the response is the same to the byte and takes fewer statements.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from functools import partial
from sys import _getframe
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import event, orm
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.orm import ORMExecuteState, Session

from flask_perfkit.bypass import without_caches
from flask_perfkit.errors import SetupError
from flask_perfkit.measuring.counter import QueryCounter
from flask_perfkit.recording.callsite import walk
from flask_perfkit.recording.findings import Finding
from flask_perfkit.recording.reason import selected
from flask_perfkit.recording.wording import milliseconds

if TYPE_CHECKING:
    from flask import Flask

    from flask_perfkit.state import Replay

_LOADERS = (
    "contains_eager",
    "defaultload",
    "immediateload",
    "joinedload",
    "selectinload",
    "selectin_polymorphic",
    "subqueryload",
    "undefer",
    "undefer_group",
)
_ROOT = re.compile(r"(?<=\()\w+")
_TRIALS = 3

_keeps_nothing: ContextVar[bool] = ContextVar("flask_perfkit_keeps_nothing", default=False)


@dataclass(frozen=True)
class Proof:
    """What came of trying a fix; times are in seconds, the least of three trials.

    ``holds`` says that the fix is good: the response is ``identical`` and takes fewer queries.
    ``reason`` says why it does not.
    """

    finding: Finding
    holds: bool
    reason: str
    identical: bool | None = None
    queries_before: int | None = None
    queries_after: int | None = None
    time_before: float | None = None
    time_after: float | None = None

    @property
    def message(self) -> str:
        """The result in one line."""
        if not self.holds:
            return f"not proven: {self.finding.fix}: {self.reason}"
        return (
            f"proven: {self.finding.fix}: same response, {self.queries_before} -> "
            f"{self.queries_after} queries, {milliseconds(self.time_before or 0)} -> "
            f"{milliseconds(self.time_after or 0)}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain data that JSON can hold."""
        return {**asdict(self), "finding": self.finding.to_dict()}


class _Trial(NamedTuple):
    status: int
    body: bytes
    queries: int
    seconds: float


def is_provable(finding: Finding) -> bool:
    """Tell whether a fix is a loader option, which can be tried without changing the code."""
    return (
        finding.kind == "n_plus_one"
        and finding.origin is not None
        and finding.fix.startswith(tuple(f"{name}(" for name in _LOADERS))
    )


def prove(app: Flask, finding: Finding) -> Proof:
    """Try the fix of a finding on the request that it was found in.

    Only a GET is asked again. What it writes is rolled back: a commit is not passed on to the
    database, which is why nothing else should run in the process meanwhile.

    :raises SetupError: no GET of the finding's endpoint was recorded in this process; requests
        are kept, in memory only, in debug and tests.
    """
    if not is_provable(finding):
        return Proof(finding, holds=False, reason="it is code to be written, no loader option")
    replay: Replay | None = app.extensions["perfkit"].replays.get(finding.endpoint)
    if replay is None:
        raise SetupError(
            f"no GET of {finding.endpoint!r} was recorded: ask for it first, in debug or tests"
        )
    with _nothing_kept(), without_caches():
        before = [_ask(app, replay) for _ in range(_TRIALS)]
        with _option_added(finding) as added:
            after = [_ask(app, replay) for _ in range(_TRIALS)]
    return _judged(finding, before, after, was_added=bool(added))


def _ask(app: Flask, replay: Replay) -> _Trial:
    with QueryCounter() as counter:
        started = perf_counter()
        response = app.test_client(use_cookies=False).get(
            headers=list(replay.headers),
            environ_overrides={"PATH_INFO": replay.path, "QUERY_STRING": replay.query},
        )
        body = response.get_data()
        seconds = perf_counter() - started
        response.close()
    return _Trial(response.status_code, body, counter.count, seconds)


def _judged(
    finding: Finding, before: list[_Trial], after: list[_Trial], *, was_added: bool
) -> Proof:
    first, last = before[-1], after[-1]
    identical = (first.status, first.body) == (last.status, last.body)
    if before[0].body != first.body:
        reason = "the response differs from one time to the next without it"
    elif not was_added:
        reason = "the select at its origin was not sent again"
    elif not identical:
        reason = f"the response differs (status {first.status}, with it {last.status})"
    elif last.queries >= first.queries:
        reason = f"it takes {last.queries} queries, without it {first.queries}"
    else:
        reason = ""
    return Proof(
        finding,
        holds=not reason,
        reason=reason,
        identical=identical,
        queries_before=first.queries,
        queries_after=last.queries,
        time_before=min(trial.seconds for trial in before),
        time_after=min(trial.seconds for trial in after),
    )


@contextmanager
def _option_added(finding: Finding) -> Iterator[list[str]]:
    """Add the loader option to the statements of the finding's origin; yields those it met."""
    added: list[str] = []

    def add(state: ORMExecuteState) -> None:
        if not (state.is_select and _keeps_nothing.get()):
            return
        if state.is_relationship_load or state.is_column_load or not _is_for(finding.fix, state):
            return
        asked = walk(None, _getframe(), None).asked
        if asked is not None and (asked.filename, asked.lineno) == finding.origin:
            state.statement = state.statement.options(_option(finding.fix, state))
            added.append(finding.fix)

    event.listen(Session, "do_orm_execute", add)
    try:
        yield added
    finally:
        event.remove(Session, "do_orm_execute", add)


def _is_for(fix: str, state: ORMExecuteState) -> bool:
    """Tell whether a statement selects what a fix starts from, and not only counts it."""
    mappers = tuple(selected(state.statement))
    root = _ROOT.search(fix)
    if root is None:
        return bool(mappers)
    family = (
        each for one in mappers for each in (*one.iterate_to_root(), *one.self_and_descendants)
    )
    return root[0] in {mapper.class_.__name__ for mapper in family}


def _option(fix: str, state: ORMExecuteState) -> Any:
    """Make the option that a fix spells, with the loaders and the models as its only names."""
    names: dict[str, Any] = {name: getattr(orm, name) for name in _LOADERS}
    for mapper in state.all_mappers:
        names |= {each.class_.__name__: each.class_ for each in mapper.registry.mappers}
    return eval(fix, {"__builtins__": {}}, names)


@contextmanager
def _nothing_kept() -> Iterator[None]:
    """Keep commits from the database, whatever engine they are for, and roll back."""
    held: dict[int, tuple[Any, Any, Any]] = {}

    def begin(connection: Connection) -> None:
        dialect: Any = connection.dialect
        if id(dialect) not in held:
            before = vars(dialect).get("do_commit")
            dialect.do_commit = holding = partial(_commit, dialect.do_commit)
            held[id(dialect)] = (dialect, before, holding)

    event.listen(Engine, "begin", begin)
    token = _keeps_nothing.set(True)
    try:
        yield
    finally:
        _keeps_nothing.reset(token)
        event.remove(Engine, "begin", begin)
        for dialect, before, holding in held.values():
            if dialect.do_commit is not holding:
                continue  # somebody has wrapped it since; it passes commits on from now
            if before is None:
                del dialect.do_commit
            else:
                dialect.do_commit = before


def _commit(commit: Any, connection: Any) -> None:
    if not _keeps_nothing.get():
        commit(connection)
