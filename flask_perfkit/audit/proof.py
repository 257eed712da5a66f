"""Does a loader option hold? A recorded GET is asked again with it, and nothing is kept.

The option goes into the statement that the finding names as its origin. It holds if the
response is the same to the byte and takes fewer statements and less of the processor's time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from sys import _getframe
from typing import TYPE_CHECKING, Any

from sqlalchemy import event
from sqlalchemy.orm import ORMExecuteState, Session

from flask_perfkit.audit.trial.asking import Ask, asking_again
from flask_perfkit.audit.trial.comparison import compare
from flask_perfkit.audit.trial.limits import current_trial
from flask_perfkit.cures.loaders import LoaderOption
from flask_perfkit.errors import SetupError
from flask_perfkit.recording.callsite import walk
from flask_perfkit.recording.findings import Finding
from flask_perfkit.recording.wording import milliseconds, queries

if TYPE_CHECKING:
    from flask import Flask

    from flask_perfkit.state import Replay


@dataclass(frozen=True)
class Proof:
    """What came of trying a fix; times are seconds of the processor, the least of several trials.

    ``holds`` says that the fix is good: the response is ``identical`` and takes fewer queries and
    less time. ``reason`` says why it does not.
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
            f"{queries(self.queries_after or 0)}, {milliseconds(self.time_before or 0)} -> "
            f"{milliseconds(self.time_after or 0)}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain data that JSON can hold."""
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {**values, "finding": self.finding.to_dict()}


def is_provable(finding: Finding) -> bool:
    """Tell whether a fix is a loader option, which can be tried without changing the code."""
    return isinstance(finding.cure, LoaderOption) and finding.origin is not None


def prove(app: Flask, finding: Finding) -> Proof:
    """Try the fix of a finding on the request that it was found in.

    Only a GET is asked again. What it writes is rolled back: a commit is not passed on to the
    database, which is why nothing else should run in the process meanwhile. Before a statement that
    no rollback takes back, the trial is ended.

    :raises SetupError: no GET of the finding's endpoint was recorded in this process; requests
        are kept, in memory only, in debug and tests.
    """
    if not is_provable(finding):
        return Proof(finding, holds=False, reason=_unprovable(finding))
    ask = recorded(app, finding)
    added: list[str] = []
    result = compare(ask, lambda: _option_added(finding, added))
    reason = result.reason
    if result.identical and not added:
        reason = "the select at its origin was not sent again"
    return Proof(
        finding,
        holds=not reason,
        reason=reason,
        identical=result.identical,
        queries_before=result.statements_before,
        queries_after=result.statements_after,
        time_before=result.seconds_before,
        time_after=result.seconds_after,
    )


def recorded(app: Flask, finding: Finding) -> Ask:
    """Return what asks again for the GET that a finding was found in.

    :raises SetupError: there is none.
    """
    replay: Replay | None = app.extensions["perfkit"].replays.get(finding.endpoint)
    if replay is None:
        raise SetupError(
            f"no GET of {finding.endpoint!r} was recorded: request it first, in debug or tests"
        )
    return asking_again(app, replay)


def _unprovable(finding: Finding) -> str:
    if finding.kind == "n_plus_one" and finding.origin is not None:
        return "no option comes with it: its fix is words, or it was found by another process"
    return "it is code to be written, no loader option"


@contextmanager
def _option_added(finding: Finding, added: list[str]) -> Iterator[None]:
    """Add the loader option to the statements of the finding's origin, and note that it was."""
    option: LoaderOption = finding.cure

    def add(state: ORMExecuteState) -> None:
        if not state.is_select or current_trial() is None:
            return
        if state.is_relationship_load or state.is_column_load or not option.is_for(state.statement):
            return
        asked = walk(None, _getframe(), None).asked
        if asked is not None and (asked.filename, asked.lineno) == finding.origin:
            state.statement = option.apply(state.statement)
            added.append(finding.fix)

    event.listen(Session, "do_orm_execute", add)
    try:
        yield
    finally:
        event.remove(Session, "do_orm_execute", add)
