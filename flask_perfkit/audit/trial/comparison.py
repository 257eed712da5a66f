"""Is it better with a change than without? Both are tried in turn, several times."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import Context
from dataclasses import dataclass

from flask_perfkit.audit.trial.asking import Ask, Outcome, outcome_of
from flask_perfkit.audit.trial.untouched import nothing_kept

_FAILED = 500

TRIALS = 3
"""How often each side is tried; the first time of each warms caches up, the least counts."""

MOST_TRIALS = 12
"""How often, where only the time is not less yet."""


@dataclass(frozen=True)
class Comparison:
    """What came of both sides; ``seconds`` are of the processor, the least of several trials.

    ``reason`` says why the change is not good; it is empty where it is. ``identical`` is None
    where one side gave no answer.
    """

    reason: str
    identical: bool | None = None
    statements_before: int | None = None
    statements_after: int | None = None
    seconds_before: float | None = None
    seconds_after: float | None = None


def compare(
    ask: Ask, change: Callable[[], AbstractContextManager[object]], *, fewer: bool = True
) -> Comparison:
    """Ask without a change and with it.

    :param change: makes it for a block.
    :param fewer: whether fewer statements and less time are demanded, and not only the same answer.
    """
    with nothing_kept():
        before: list[Outcome] = []
        after: list[Outcome] = []
        while len(after) < TRIALS or (len(after) < MOST_TRIALS and _is_undecided(before, after)):
            before.append(_apart(ask))
            if before[-1].ended is not None:
                break
            with change():
                after.append(_apart(ask))
            if after[-1].ended is not None:
                break
    return _judged(before, after, fewer=fewer)


def _is_undecided(before: list[Outcome], after: list[Outcome]) -> bool:
    """Tell whether only time speaks against it: of short requests a few trials say little."""
    return after[-1].statements < before[-1].statements and not _is_faster(before, after)


def _is_faster(before: list[Outcome], after: list[Outcome]) -> bool:
    return min(each.seconds for each in after) < min(each.seconds for each in before)


def _apart(ask: Ask) -> Outcome:
    """Ask outside of any application context, whose session would know objects from before."""
    return Context().run(outcome_of, ask)


def _judged(before: list[Outcome], after: list[Outcome], *, fewer: bool) -> Comparison:
    first = before[-1]
    if first.ended is not None:
        return Comparison(f"the trial was ended: {first.ended}", statements_before=first.statements)
    last = after[-1]
    if last.ended is not None:
        return Comparison(f"with it the trial was ended: {last.ended}", None, first.statements)
    assert first.answer is not None
    assert last.answer is not None
    identical = first.answer == last.answer
    faster = (min(each.seconds for each in before), min(each.seconds for each in after))
    if first.answer[0] >= _FAILED:
        reason = f"the request fails without it (status {first.answer[0]})"
    elif any(each.answer != first.answer for each in before):
        reason = "the response differs from one time to the next without it"
    elif not identical:
        reason = f"the response differs (status {first.answer[0]}, with it {last.answer[0]})"
    elif last.statements > first.statements or (fewer and last.statements == first.statements):
        reason = f"it takes {last.statements} queries, without it {first.statements}"
    elif fewer and not _is_faster(before, after):
        reason = (
            f"it takes {last.statements} queries instead of {first.statements} and no less time: "
            f"{faster[1] * 1000:.3g} ms of the processor, without it {faster[0] * 1000:.3g} ms"
        )
    else:
        reason = ""
    return Comparison(reason, identical, first.statements, last.statements, *faster)
