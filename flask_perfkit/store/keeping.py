"""Which profiles are worth to be kept, and for how long."""

from __future__ import annotations

from bisect import insort
from collections import Counter
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask_perfkit.recording.profile import Profile
    from flask_perfkit.store.reading import RouteKey

SAMPLE, REPEATED, SLOW, TELLING = range(4)
"""Why a profile is kept; where there is no more room, the least goes first, the oldest of these
before the others."""

_MOST_ROUTES = 1_000
_SLOWEST = 10
_FIRST = 20
_WINDOW = 3_600.0
_BETWEEN_SAMPLES = 60.0


class Keeper:
    """Chooses, in each hour: all with a finding, the slowest ten of a route, a sample a minute.

    Of one finding at one route the first twenty are worth most.

    :param keeps_all: every profile is kept for as long as there is room, as one developing wants.
    """

    def __init__(self, *, keeps_all: bool) -> None:
        self._keeps_all = keeps_all
        self._begun = -inf
        self._slowest: dict[RouteKey, list[float]] = {}
        self._seen: Counter[tuple[RouteKey, frozenset[tuple[str, str]]]] = Counter()
        self._sampled: dict[RouteKey, float] = {}

    def interest(self, profile: Profile, route: RouteKey, now: float) -> int | None:
        """Say how much a profile is worth; None where it is not kept."""
        self._begin_anew(now)
        is_slow = self._is_slow(route, profile.duration)
        is_due = now - self._sampled.get(route, -inf) >= _BETWEEN_SAMPLES
        if is_due and len(self._sampled) < _MOST_ROUTES:
            self._sampled[route] = now
        if profile.findings or profile.allowed:
            what = route, frozenset((each.kind, each.subject) for each in profile.findings)
            if len(self._seen) < _MOST_ROUTES:
                self._seen[what] += 1
            return TELLING if self._seen[what] <= _FIRST else SLOW if is_slow else REPEATED
        if is_slow:
            return SLOW
        return SAMPLE if is_due or self._keeps_all else None

    def threshold(self, route: RouteKey, now: float) -> float:
        """Return the seconds from which on the next request of a route is kept."""
        if now - self._sampled.get(route, -inf) >= _BETWEEN_SAMPLES:
            return 0.0
        slowest = self._slowest.get(route, [])
        return slowest[0] if len(slowest) >= _SLOWEST else 0.0

    def _begin_anew(self, now: float) -> None:
        if now - self._begun >= _WINDOW:
            self._begun = now
            self._slowest.clear()
            self._seen.clear()
            self._sampled.clear()

    def _is_slow(self, route: RouteKey, seconds: float) -> bool:
        slowest = self._slowest.get(route)
        if slowest is None:
            if len(self._slowest) >= _MOST_ROUTES:
                return False
            slowest = self._slowest[route] = []
        if len(slowest) >= _SLOWEST and seconds <= slowest[0]:
            return False
        insort(slowest, seconds)
        del slowest[:-_SLOWEST]
        return True
