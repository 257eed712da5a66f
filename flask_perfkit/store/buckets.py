"""Buckets of time: how fine they are, how long each is kept, and which ones make up a period."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from flask_perfkit.store.reading import Period
from flask_perfkit.store.totals import Sort

_HOUR = 3_600
_DAY = 24 * _HOUR


class Step(NamedTuple):
    """Buckets of one width, and for how long they are kept; both in seconds."""

    width: int
    kept: int

    def start(self, moment: float) -> int:
        """Return when the bucket of a moment begins."""
        return int(moment // self.width) * self.width


STEPS = (Step(60, 2 * _HOUR), Step(900, _DAY), Step(2 * _HOUR, 14 * _DAY))
"""From fine to coarse. What happens is counted in one bucket of each, so that none has to be made
of others, and no period is made of more than some 170."""


class Bucket(NamedTuple):
    """One bucket of time. ``expires`` is when it may be forgotten."""

    step: Step
    start: int

    @property
    def expires(self) -> int:
        """When no period that shows it can be asked for any more."""
        return self.start + self.step.kept + 2 * self.step.width

    def name(self, sort: Sort) -> str:
        """Return what its totals of a sort are stored under."""
        return f"{sort.name}:{self.step.width}:{self.start}"


def buckets_at(moment: float) -> list[Bucket]:
    """Return the buckets that a moment is counted in, one of each width."""
    return [Bucket(step, step.start(moment)) for step in STEPS]


def buckets_of(period: Period, now: float) -> list[Bucket]:
    """Return the finest buckets that are still kept for the whole period, in order."""
    return list(_buckets_of(period, now))


def _buckets_of(period: Period, now: float) -> Iterator[Bucket]:
    age = now - period.since
    step = next((step for step in STEPS if age <= step.kept + step.width), STEPS[-1])
    first = step.start(max(period.since, now - step.kept - step.width))
    for start in range(first, int(min(period.until, now)) + 1, step.width):
        yield Bucket(step, start)
