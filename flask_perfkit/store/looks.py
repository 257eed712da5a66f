"""Counts what nobody tells the store: how the process does, and how caches were asked."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import getrandbits
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakValueDictionary

from flask_perfkit.cache.stats import CacheCounts, cache_stats
from flask_perfkit.errors import ExtraMissing
from flask_perfkit.faults import log_once
from flask_perfkit.store.tally import Tally
from flask_perfkit.system.figures import get_system_metrics, resident_bytes

if TYPE_CHECKING:
    from flask import Flask

_BETWEEN_LOOKS = 10.0  # seconds

MEANS = (
    *("cpu_percent", "memory_rss", "threads", "open_files", "pool_used", "pool_size"),
    *("load_average", "machine_memory_percent", "disk_percent"),
)
"""What a look reads, in the order of its numbers, after how many looks and seconds they are of."""

GROWING = ("disk_read_bytes", "disk_write_bytes", "net_sent_bytes", "net_recv_bytes")
"""What it reads as the growth since the look before."""


Look = Callable[[Tally], None]


class Looks:
    """What a process looks at for one place, where several of its stores may be kept.

    Only one of these looks, or all would be counted several times.

    :param place: what the others know the place by; None for one that nobody shares.
    :param make: makes what looks, once it is this one's turn.
    """

    _looking: ClassVar[WeakValueDictionary[str, Looks]] = WeakValueDictionary()

    def __init__(self, place: str | None, make: Callable[[], tuple[Look, ...]]) -> None:
        self._place = place
        self._make = make
        self._looks: tuple[Look, ...] = ()
        self._begin()

    def __call__(self, tally: Tally) -> None:
        """Look, and count what is seen."""
        self._begin()
        for look in self._looks:
            try:
                look(tally)
            except Exception:
                log_once("looking at the process")

    def close(self) -> None:
        """Let another one look."""
        self._looks = ()
        if self._place is not None and self._looking.get(self._place) is self:
            del self._looking[self._place]

    def _begin(self) -> None:
        is_first = self._place is None or self._looking.setdefault(self._place, self) is self
        if is_first and not self._looks:
            self._looks = self._make()


class CacheLook:
    """Counts what caches were asked since the last look, and what dropped their values."""

    def __init__(self) -> None:
        self._before = cache_stats.by_route()
        self._dropped = cache_stats.drops()

    def __call__(self, tally: Tally) -> None:
        """Count."""
        now = cache_stats.by_route()
        for (name, rule), counts in now.items():
            before = self._before.get((name, rule), CacheCounts())
            hits, misses = counts.hits - before.hits, counts.misses - before.misses
            if hits > 0 or misses > 0:
                tally.count_cache(name, rule, max(hits, 0), max(misses, 0))
        self._before = now
        drops = cache_stats.drops()
        for (name, table), count in drops.items():
            if (more := count - self._dropped.get((name, table), 0)) > 0:
                tally.count_drops(name, table, more)
        self._dropped = drops


class ProcessLook:
    """Reads, every ten seconds, the figures of this process, its pools and its machine."""

    def __init__(self, app: Flask, db: Any) -> None:
        self._app = app
        self._db = db
        self._at = time.monotonic()
        self._next = self._at
        self._sums: Sequence[int | None] = [None] * len(GROWING)
        self._name = ""
        self._pid = 0

    def __call__(self, tally: Tally) -> None:
        """Look, if it is time to."""
        now = time.monotonic()
        if self._pid != os.getpid():
            self._pid, self._next = os.getpid(), now
            self._name = f"{self._pid}-{getrandbits(24):06x}"  # ids come again in other containers
        if now < self._next:
            return
        seconds, self._at, self._next = now - self._at, now, now + _BETWEEN_LOOKS
        figures = _figures()
        used, size = self._pools()
        found = {**figures, "pool_used": used, "pool_size": size}
        sums = [figures.get(name) for name in GROWING]
        grown = [
            None if new is None or old is None else max(new - old, 0)
            for new, old in zip(sums, self._sums, strict=True)
        ]
        self._sums = sums
        tally.count_look(self._name, [1, seconds, *map(found.get, MEANS), *grown])

    def _pools(self) -> tuple[int | None, int | None]:
        """Return how many connections the pools have lent, and how many they may have open."""
        db = self._db or self._app.extensions.get("sqlalchemy")
        engines = getattr(db, "_app_engines", {}).get(self._app, {})
        pools = [
            pool
            for engine in engines.values()
            if hasattr(pool := engine.pool, "checkedout") and hasattr(pool, "size")
        ]
        if not pools:
            return None, None
        size = sum(pool.size() + max(getattr(pool, "_max_overflow", 0), 0) for pool in pools)
        return sum(pool.checkedout() for pool in pools), size


def _figures() -> dict[str, Any]:
    """Read the figures of the process and its machine; a few of them where psutil is missing."""
    with suppress(ExtraMissing):
        return get_system_metrics().to_dict()
    figures: dict[str, Any] = {"threads": threading.active_count()}
    with suppress(OSError, AttributeError):
        figures["load_average"] = os.getloadavg()[0]
    with suppress(ExtraMissing):
        figures["memory_rss"] = resident_bytes()
    return figures
