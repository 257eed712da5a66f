"""A store as it is read: what this process has not written yet is written first."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from time import time
from typing import TypeVar

from flask_perfkit.errors import StoreError
from flask_perfkit.recording.findings import Finding
from flask_perfkit.recording.recorder import unrecorded
from flask_perfkit.store.buckets import buckets_of
from flask_perfkit.store.packing import finding_of, unpacked
from flask_perfkit.store.places.place import Known, Place
from flask_perfkit.store.reading import (
    CacheDrops,
    CacheTotals,
    FindingTotals,
    Found,
    Kind,
    Period,
    RequestFilter,
    Route,
    RouteKey,
    StatementTotals,
    StoredFinding,
    StoredProfile,
    StoreInfo,
    Summary,
    SystemPoint,
)
from flask_perfkit.store.series import (
    Series,
    caches_of,
    drops_of,
    part_of,
    route_of_totals,
    statements_of,
    system_of,
)
from flask_perfkit.store.totals import (
    CACHES,
    DROPS,
    FINDINGS,
    ROUTES,
    STATEMENTS,
    SYSTEM,
    Entry,
    Sort,
)
from flask_perfkit.store.writer import Writer

T = TypeVar("T")

_UNKNOWN = "(no longer known)"


class Store:
    """The stored picture of an application, of all processes that write to it.

    What reads it may raise :class:`~flask_perfkit.errors.StoreError`, which says what is wrong with
    the place where it is kept: a server that is gone, a file that cannot be read.

    :param url: what is shown of the place; no password in it.
    """

    def __init__(self, place: Place, writer: Writer, url: str, limit: int) -> None:
        self.writer = writer
        self._place = place
        self._url = url
        self._limit = limit

    def routes(
        self,
        period: Period,
        *,
        search: str = "",
        kind: Kind | None = None,
        limit: int = 50,
        offset: int = 0,
    ) -> Found[Route]:
        """Return routes, jobs and commands, the one that time was spent with most first."""
        with self._read():
            series = self._series(ROUTES, period)
            found = self._series(FINDINGS, period)
            kinds = self._kinds_found(found)
        routes = [
            (key, entry)
            for key, entry in series.merged().items()
            if kind in (None, key[0]) and _is_in(search, key[1], key[2], key[3])
        ]
        routes.sort(key=lambda item: -(item[1].numbers[3] or 0))
        page = [
            route_of_totals(key, entry, series, kinds[RouteKey(*key[:3])])
            for key, entry in routes[offset : offset + limit]
        ]
        return Found(page, len(routes))

    def route(self, key: RouteKey, period: Period) -> Route | None:
        """Return one of them; None where nothing of it is known in the period."""
        with self._read():
            series = self._series(ROUTES, period)
            kinds = self._kinds_found(self._series(FINDINGS, period))
        for name, entry in series.merged(lambda each: each if each[:3] == key else None).items():
            return route_of_totals(name, entry, series, kinds[key])
        return None

    def findings(
        self,
        period: Period,
        *,
        search: str = "",
        route: RouteKey | None = None,
        limit: int = 50,
        offset: int = 0,
    ) -> Found[FindingTotals]:
        """Return what was found, allowed and gone ones too, the most costly first."""
        with self._read():
            series = self._series(FINDINGS, period)
            routes = self._series(ROUTES, period)
            merged = series.merged(lambda key: key if route in (None, key[1:]) else None)
            names = {key[0] for key in merged}
            texts = self._place.texts(f"finding:{name}" for name in names)
            profiles = self._place.latest_with(names)
        by_id: defaultdict[str, list[tuple[RouteKey, Entry]]] = defaultdict(list)
        for (name, *key), entry in merged.items():
            by_id[name].append((RouteKey(*key), entry))
        found = [
            _finding(known, by_id[name], routes, profiles.get(name))
            for name in by_id
            if (known := texts.get(f"finding:{name}")) is not None
        ]
        found = [each for each in found if _is_in(search, *_words_of(each))]
        found.sort(key=lambda each: -each.duration)
        return Found(found[offset : offset + limit], len(found))

    def requests(
        self, period: Period, only: RequestFilter, *, limit: int = 50, offset: int = 0
    ) -> Found[Summary]:
        """Return stored requests, jobs and commands."""
        with self._read():
            return self._place.requests(period, only, limit, offset)

    def profile(self, profile_id: str) -> StoredProfile | None:
        """Return a stored profile; None where it is not kept (any more)."""
        with self._read():
            body = self._place.profile(profile_id)
        return unpacked(body) if body is not None else None

    def statements(
        self,
        period: Period,
        *,
        search: str = "",
        route: RouteKey | None = None,
        limit: int = 50,
        offset: int = 0,
    ) -> Found[StatementTotals]:
        """Return statements, the one that most time was spent with first."""
        with self._read():
            found = self._with_sql(statements_of(self._series(STATEMENTS, period), route).values())
        found = [each for each in found if _is_in(search, each.sql)]
        found.sort(key=lambda each: -each.duration)
        return Found(found[offset : offset + limit], len(found))

    def statement(self, fingerprint: str, period: Period) -> StatementTotals | None:
        """Return one statement; None where it was not sent in the period."""
        with self._read():
            found = statements_of(self._series(STATEMENTS, period), None).get(fingerprint)
            return self._with_sql([found])[0] if found is not None else None

    def caches(self, period: Period) -> list[CacheTotals]:
        """Return how often which cache was asked by which route, the most requested first."""
        with self._read():
            return caches_of(self._series(CACHES, period))

    def drops(self, period: Period) -> list[CacheDrops]:
        """Return which tables' changes dropped values of which caches, the most frequent first."""
        with self._read():
            return drops_of(self._series(DROPS, period))

    def system(self, period: Period) -> list[SystemPoint]:
        """Return the figures of the processes over time."""
        with self._read():
            return system_of(self._series(SYSTEM, period))

    def info(self) -> StoreInfo:
        """Say what is kept, and what was lost."""
        with self._read():
            profiles, size = self._place.size()
        return StoreInfo(self._url, profiles, self._limit, size, self.writer.lost)

    def living(self, finding_id: str) -> Finding | None:
        """Return a finding of this process as it was found last, with its cure, if it was here."""
        return self.writer.living(finding_id)

    @contextmanager
    def _read(self) -> Iterator[None]:
        self.writer.flush()
        try:
            with unrecorded():
                yield
        except Exception as error:
            raise StoreError(
                f"{self._url} (PERFKIT_STORAGE_URL) cannot be read: {type(error).__name__}: {error}"
            ) from error

    def _series(self, sort: Sort, period: Period) -> Series:
        buckets = buckets_of(period, time())
        bodies = self._place.totals([bucket.name(sort) for bucket in buckets])
        return Series(buckets, [part_of(body) if body is not None else {} for body in bodies])

    def _kinds_found(self, series: Series) -> defaultdict[RouteKey, Counter[str]]:
        """Return for each route how many of its requests had which kind of finding."""
        merged = series.merged()
        texts = self._place.texts({f"finding:{name}" for name, *_ in merged})
        kinds: defaultdict[RouteKey, Counter[str]] = defaultdict(Counter)
        for (name, *route), entry in merged.items():
            known = texts.get(f"finding:{name}")
            if known is not None:
                kind = finding_of(json.loads(known.value)).kind
                kinds[RouteKey(*route)][kind] += entry.numbers[0] or 0  # type: ignore[assignment]
        return kinds

    def _with_sql(self, statements: Iterable[StatementTotals]) -> list[StatementTotals]:
        some = list(statements)
        texts = self._place.texts(f"statement:{each.fingerprint}" for each in some)
        return [_told(each, texts.get(f"statement:{each.fingerprint}")) for each in some]


def _told(statement: StatementTotals, known: Known | None) -> StatementTotals:
    sql, operation = json.loads(known.value) if known is not None else (_UNKNOWN, "")
    return replace(statement, sql=sql, operation=operation)


def _finding(
    known: Known,
    entries: Sequence[tuple[RouteKey, Entry]],
    routes: Series,
    profile_id: str | None,
) -> FindingTotals:
    total = Entry([0.0, 0.0, 0.0])
    for _, entry in entries:
        total.add(entry.numbers)
    times, watched, seconds = (number or 0.0 for number in total.numbers)
    keys = tuple(key for key, _ in entries)
    return FindingTotals(
        latest=finding_of(json.loads(known.value)),
        routes=keys,
        times=times,
        duration=seconds,
        first_seen=known.first,
        last_seen=known.last,
        is_estimated=abs(times - watched) > 0.5,
        profile_id=profile_id,
        asked_since=_asked_since(known.last, set(keys), routes),
    )


def _asked_since(moment: float, keys: set[RouteKey], routes: Series) -> float:
    """Count the requests of routes in the buckets that began after a moment."""
    return sum(
        entry.numbers[0] or 0
        for bucket, part in zip(routes.buckets, routes.parts, strict=True)
        if bucket.start > moment
        for key, entry in part.items()
        if key[:3] in keys
    )


def _words_of(totals: FindingTotals) -> tuple[str, ...]:
    found: StoredFinding = totals.latest
    return found.kind, found.subject, found.message, found.endpoint or "", found.filename or ""


def _is_in(part: str, *texts: str) -> bool:
    return not part or any(part.lower() in text.lower() for text in texts)
