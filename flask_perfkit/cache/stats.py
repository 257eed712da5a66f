"""How often caches had what they were asked for."""

from __future__ import annotations

import logging
from contextlib import suppress
from threading import Lock
from typing import NamedTuple

logger = logging.getLogger(__name__)

_MAX_NAMES = 100
_MAX_NAME_LENGTH = 100
_OTHER = "other"


class CacheCounts(NamedTuple):
    """The hits and misses of one cache."""

    hits: int = 0
    misses: int = 0

    @property
    def hit_rate(self) -> float:
        """The share of hits, from 0.0 to 1.0; 0.0 before the first request."""
        requests = self.hits + self.misses
        return self.hits / requests if requests else 0.0


class CacheStats:
    """Hits and misses by the name of the cache, exact across threads.

    A name is cut at 100 characters, and caches beyond the first 100 are counted
    together as ``other``: names made of user input cannot fill the memory.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._counts: dict[str, CacheCounts] = {}

    def hit(self, name: str = "default", n: int = 1) -> None:
        """Count ``n`` requests that the cache answered.

        :raises TypeError: ``name`` is no text.
        :raises ValueError: ``n`` is no whole number from 0.
        """
        self._add(name, hits=_checked(n))

    def miss(self, name: str = "default", n: int = 1) -> None:
        """Count ``n`` requests that the cache could not answer.

        :raises TypeError: ``name`` is no text.
        :raises ValueError: ``n`` is no whole number from 0.
        """
        self._add(name, misses=_checked(n))

    def snapshot(self) -> dict[str, CacheCounts]:
        """Return the counts by name, all of one moment."""
        with self._lock:
            return dict(self._counts)

    def report(self, name: str | None = None) -> str:
        """Return one line of counts, and log it at INFO.

        :param name: one cache; all of them together unless given.
        """
        counts = self.snapshot()
        if name is None:
            title = "Cache Stats"
            total = CacheCounts(
                hits=sum(each.hits for each in counts.values()),
                misses=sum(each.misses for each in counts.values()),
            )
        else:
            bucket = _bucket(name, counts)
            title = f"Cache Stats [{bucket}]"
            total = counts.get(bucket, CacheCounts())
        line = f"{title}: {total.hits} hits, {total.misses} misses ({total.hit_rate:.1%} hit rate)"
        with suppress(Exception):  # a handler that raises is no reason to fail
            logger.info("%s", line)
        return line

    def reset(self) -> None:
        """Forget all counts and names."""
        with self._lock:
            self._counts.clear()

    def _add(self, name: str, *, hits: int = 0, misses: int = 0) -> None:
        with self._lock:
            bucket = _bucket(name, self._counts)
            before = self._counts.get(bucket, CacheCounts())
            self._counts[bucket] = CacheCounts(before.hits + hits, before.misses + misses)


cache_stats = CacheStats()


def _checked(n: int) -> int:
    if not isinstance(n, int) or n < 0:
        raise ValueError(f"n is {n!r:.100}; allowed is a whole number from 0")
    return n


def _bucket(name: str, counts: dict[str, CacheCounts]) -> str:
    if not isinstance(name, str):
        raise TypeError(f"name is {name!r:.100}; allowed is text (a count goes in as n=)")
    name = name[:_MAX_NAME_LENGTH]
    return name if name in counts or len(counts) < _MAX_NAMES else _OTHER
