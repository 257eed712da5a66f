"""Counts what happens in this process between two writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from operator import sub
from typing import TYPE_CHECKING, NamedTuple

from flask_perfkit.recording.fingerprint import operation_of, shape_of
from flask_perfkit.store.identity import finding_id, fingerprint_of
from flask_perfkit.store.packing import (
    Packed,
    has_failed,
    plain,
    request_key,
    route_of,
    stored_finding,
)
from flask_perfkit.store.totals import (
    CACHES,
    DROPS,
    FINDINGS,
    ROUTES,
    SORTS,
    STATEMENTS,
    SYSTEM,
    Key,
    Sort,
    Totals,
)

if TYPE_CHECKING:
    from werkzeug.routing import Rule

    from flask_perfkit.recording.cause import Cause
    from flask_perfkit.recording.findings import Finding
    from flask_perfkit.recording.profile import Profile
    from flask_perfkit.store.reading import RouteKey

_FAILED = 500
_MOST_FINGERPRINTS = 5_000
_MOST_TEXTS = 1_000
_SECONDS = 1e-9


class Passed(NamedTuple):
    """A request that was let go: a few numbers of it, taken while it ran.

    Times are in nanoseconds; ``texts`` and ``durations`` are its statements.
    """

    rule: Rule | None
    method: str
    status: int
    elapsed: int
    texts: Sequence[str] = ()
    durations: Sequence[int] = ()


@dataclass
class Batch:
    """What is written at once: totals, what short names stand for, profiles."""

    moment: float
    totals: dict[Sort, Totals] = field(
        default_factory=lambda: {each: Totals(each) for each in SORTS}
    )
    texts: dict[str, str] = field(default_factory=dict)
    profiles: list[Packed] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.profiles) or any(self.totals.values())


class Tally:
    """Counts for the next batch.

    :param excludes: says which endpoints are left out.
    :param sample_rate: the share of requests that are watched.
    :param counts_all: requests are counted that are not sampled, too, so that their figures are
        exact; else they are scaled up.
    """

    def __init__(
        self, excludes: Callable[[str], bool], sample_rate: float, *, counts_all: bool
    ) -> None:
        self.excludes = excludes
        self._weight = 1 if counts_all else _weight_of(sample_rate)
        self._fingerprints: dict[str, tuple[str, str]] = {}
        self.batch = Batch(0.0)

    def taken(self, moment: float) -> Batch:
        """Return what was counted until now, and begin anew."""
        batch, self.batch = self.batch, Batch(0.0)
        batch.moment = moment
        return batch

    def count_passed(self, passed: Passed) -> RouteKey | None:
        """Count a request that was let go; return what under, None where it is not counted."""
        rule = passed.rule
        endpoint = rule.endpoint if rule is not None else ""
        if self.excludes(endpoint):
            return None
        key = request_key(passed.method, rule.rule if rule is not None else None)
        weight = self._weight
        self._count_route(
            (*key, endpoint),
            weight,
            is_error=passed.status >= _FAILED,
            seconds=passed.elapsed * _SECONDS,
            statements=len(passed.texts),
            sql_seconds=sum(passed.durations) * _SECONDS,
        )
        for text, nanoseconds in zip(passed.texts, passed.durations, strict=True):
            seconds = nanoseconds * _SECONDS
            self._count_statement(self._name(text), key, weight, 1, [seconds], seconds)
        return key

    def count_profile(self, profile: Profile) -> None:
        """Count a request, job or command that was looked at, and what was found in it."""
        key = route_of(profile)
        scaled = _weight_of(profile.sample_rate)
        weight = self._weight if profile.status is not None else scaled
        self._count_route(
            (*key, profile.endpoint or ""),
            weight,
            is_error=has_failed(profile),
            seconds=profile.duration,
            statements=profile.query_count,
            sql_seconds=profile.sql_duration,
        )
        for cause in profile.causes:
            self._count_statement(
                self._name_of_shape(cause.sql),
                key,
                weight,
                cause.count,
                _durations(cause),
                cause.duration,
                errors=cause.errors,
            )
        for finding in (*profile.findings, *profile.allowed):
            self._count_finding(finding, key, scaled)

    def count_cache(self, name: str, rule: str | None, hits: int, misses: int) -> None:
        """Count how often a cache was asked."""
        self.batch.totals[CACHES].entry((name, rule), 2).add((hits, misses))

    def count_drops(self, name: str, table: str, count: int) -> None:
        """Count the values of a cache that a change of a table had made old."""
        self.batch.totals[DROPS].entry((name, table), 1).add((count,))

    def count_look(self, process: str, figures: Sequence[float | None]) -> None:
        """Add one look at this process and its machine."""
        self.batch.totals[SYSTEM].entry((process,), len(figures)).add(figures)

    def _count_route(
        self,
        key: Key,
        weight: float,
        *,
        is_error: bool,
        seconds: float,
        statements: int,
        sql_seconds: float,
    ) -> None:
        entry = self.batch.totals[ROUTES].entry(key, 6)
        entry.add(
            (
                weight,
                1,
                weight * is_error,
                weight * seconds,
                weight * statements,
                weight * sql_seconds,
            )
        )
        entry.histogram.add(seconds, weight)

    def _count_statement(
        self,
        fingerprint: str,
        route: RouteKey,
        weight: float,
        count: int,
        durations: Iterable[float],
        seconds: float,
        errors: int = 0,
    ) -> None:
        entry = self.batch.totals[STATEMENTS].entry((fingerprint, *route), 4)
        entry.add((weight * count, count, weight * errors, weight * seconds))
        for each in durations:
            entry.histogram.add(each, weight)

    def _count_finding(self, finding: Finding, route: RouteKey, weight: float) -> None:
        name = finding_id(finding)
        entry = self.batch.totals[FINDINGS].entry((name, *route), 3)
        entry.add((weight, 1, weight * finding.duration))
        self._explain(f"finding:{name}", json.dumps(plain(stored_finding(finding))))

    def _name(self, sql: str) -> str:
        """Return the fingerprint of a statement as the driver got it."""
        return self._name_of_shape(shape_of(sql).text)

    def _name_of_shape(self, shape: str) -> str:
        """Return the fingerprint of a shape; what it stands for is written with the batch."""
        known = self._fingerprints.get(shape)
        if known is None:
            if len(self._fingerprints) >= _MOST_FINGERPRINTS:
                self._fingerprints.clear()
            text = json.dumps([shape, operation_of(shape)])
            known = self._fingerprints[shape] = fingerprint_of(shape), text
        name, text = known
        self._explain(f"statement:{name}", text)
        return name

    def _explain(self, name: str, text: str) -> None:
        texts = self.batch.texts
        if name in texts or len(texts) < _MOST_TEXTS:
            texts[name] = text


def _weight_of(sample_rate: float) -> float:
    """Return how many one stands for; a whole number where each is watched."""
    return 1 / sample_rate if 0 < sample_rate < 1 else 1


def _durations(cause: Cause) -> Iterable[float]:
    """Yield how long executions took; those that were not kept one by one took their mean."""
    kept = list(
        chain.from_iterable(map(sub, some.ended, some.started) for some in cause.executions)
    )
    yield from (nanoseconds * _SECONDS for nanoseconds in kept)
    missing = cause.count - len(kept)
    if missing > 0:
        mean = max(cause.duration - sum(kept) * _SECONDS, 0) / missing
        yield from [mean] * missing
