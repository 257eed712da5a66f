"""Is it better with a change than without? Both are tried in turn, several times."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from contextvars import Context
from dataclasses import dataclass

from flask_perfkit.audit.trial.asking import Answer, Ask, Outcome, outcome_of
from flask_perfkit.audit.trial.untouched import nothing_kept
from flask_perfkit.recording.wording import queries

_FAILED = 500
_LONG_WORD = re.compile(rb"[\w.:+/=%-]{16,}")

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
    ask: Ask,
    change: Callable[[], AbstractContextManager[object]],
    *,
    fewer: bool = True,
    faster: bool = True,
) -> Comparison:
    """Ask without a change and with it.

    :param change: makes it for a block.
    :param fewer: whether fewer statements are demanded, and not only no more of them.
    :param faster: whether less time is demanded.
    """
    with nothing_kept():
        before: list[Outcome] = []
        after: list[Outcome] = []
        while len(after) < TRIALS or (
            len(after) < MOST_TRIALS and faster and _is_undecided(before, after, fewer=fewer)
        ):
            before.append(_apart(ask))
            if before[-1].ended is not None:
                break
            with change():
                after.append(_apart(ask))
            if after[-1].ended is not None:
                break
    return _judged(before, after, fewer=fewer, faster=faster)


def _is_undecided(before: list[Outcome], after: list[Outcome], *, fewer: bool) -> bool:
    """Tell whether only time speaks against it: of short requests a few trials say little."""
    allowed = before[-1].statements - fewer
    return after[-1].statements <= allowed and not _is_faster(before, after)


def _is_faster(before: list[Outcome], after: list[Outcome]) -> bool:
    return min(each.seconds for each in after) < min(each.seconds for each in before)


def _apart(ask: Ask) -> Outcome:
    """Ask outside of any application context, whose session would know objects from before."""
    return Context().run(outcome_of, ask)


def _changing_words(answers: Sequence[Answer]) -> set[int]:
    """Return the places of long words that differ from one time to the next by themselves.

    A page has such words for good reasons: tokens against forged requests, nonces, moments.
    """
    words = [_LONG_WORD.findall(body) for _, body in answers]
    return {place for place, each in enumerate(zip(*words, strict=False)) if len(set(each)) > 1}


def _is_same(one: Answer, other: Answer, changing: set[int]) -> bool:
    """Tell whether two answers are the same but for some of their long words."""
    if one == other or not changing:
        return one == other
    words, others = (_LONG_WORD.findall(body) for _, body in (one, other))
    rest, other_rest = (_LONG_WORD.sub(b"", body) for _, body in (one, other))
    return (one[0], rest, len(words)) == (other[0], other_rest, len(others)) and all(
        word == others[place] for place, word in enumerate(words) if place not in changing
    )


def _judged(
    before: list[Outcome], after: list[Outcome], *, fewer: bool, faster: bool
) -> Comparison:
    first = before[-1]
    if first.ended is not None:
        return Comparison(f"the trial was ended: {first.ended}", statements_before=first.statements)
    last = after[-1]
    if last.ended is not None:
        return Comparison(f"with it the trial was ended: {last.ended}", None, first.statements)
    assert first.answer is not None
    assert last.answer is not None
    answers = [each.answer for each in before if each.answer is not None]
    changing = _changing_words(answers)
    identical = _is_same(first.answer, last.answer, changing)
    seconds = (min(each.seconds for each in before), min(each.seconds for each in after))
    if first.answer[0] >= _FAILED:
        reason = f"the request fails without it (status {first.answer[0]})"
    elif not all(_is_same(first.answer, each, changing) for each in answers):
        reason = "the response differs from one time to the next without it"
    elif not identical:
        reason = f"the response differs (status {first.answer[0]}, with it {last.answer[0]})"
    elif last.statements > first.statements or (fewer and last.statements == first.statements):
        reason = f"it takes {queries(last.statements)}, without it {first.statements}"
    elif faster and not _is_faster(before, after):
        reason = (
            f"it takes {queries(last.statements)} instead of {first.statements} and no less time: "
            f"{seconds[1] * 1000:.3g} ms of CPU time, without it {seconds[0] * 1000:.3g} ms"
        )
    else:
        reason = ""
    return Comparison(reason, identical, first.statements, last.statements, *seconds)
