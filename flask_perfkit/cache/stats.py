"""How often caches had what they were asked for, and what dropped what they had."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from flask import has_request_context, request

from flask_perfkit.cache.process.fork import Lock
from flask_perfkit.faults import log_once

logger = logging.getLogger(__name__)

_MAX_NAMES = 100
_MAX_NAME_LENGTH = 100
_MAX_ROUTES = 1000
_OTHER = "other"
_HITS, _MISSES = 0, 1

Listener = Callable[[str, str | None, int, int], object]
"""Gets the cache's name, the URL rule (None outside of a request), hits and misses."""


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
        self._names: set[str] = set()
        self._counts: dict[tuple[str, str | None], list[int]] = {}
        self._drops: dict[tuple[str, str], int] = {}
        self._listeners: tuple[Listener, ...] = ()

    def hit(self, name: str = "default", n: int = 1) -> None:
        """Count ``n`` requests that the cache answered.

        :raises TypeError: ``name`` is no text.
        :raises ValueError: ``n`` is no whole number from 0.
        """
        self._add(name, _HITS, n)

    def miss(self, name: str = "default", n: int = 1) -> None:
        """Count ``n`` requests that the cache could not answer.

        :raises TypeError: ``name`` is no text.
        :raises ValueError: ``n`` is no whole number from 0.
        """
        self._add(name, _MISSES, n)

    def drop(self, name: str, table: str) -> None:
        """Count a value that was there, and that a change of a table had made old.

        Values of 1000 caches and tables are told apart, the others are counted as ``other``.
        """
        with self._lock:
            key = (self._bucket(name), table)
            if len(self._drops) >= _MAX_ROUTES and key not in self._drops:
                key = (_OTHER, _OTHER)
            self._drops[key] = self._drops.get(key, 0) + 1

    def drops(self) -> dict[tuple[str, str], int]:
        """Return how often a table dropped a value of a cache, all of one moment."""
        with self._lock:
            return dict(self._drops)

    def snapshot(self) -> dict[str, CacheCounts]:
        """Return the counts by name, all of one moment."""
        total: dict[str, CacheCounts] = {}
        for (name, _), (hits, misses) in self.by_route().items():
            before = total.get(name, CacheCounts())
            total[name] = CacheCounts(before.hits + hits, before.misses + misses)
        return total

    def by_route(self) -> dict[tuple[str, str | None], CacheCounts]:
        """Return the counts by name and URL rule, all of one moment.

        The rule is None outside of a request. Rules beyond the first 1000 are ``other``.
        """
        with self._lock:
            return {key: CacheCounts(*counts) for key, counts in self._counts.items()}

    def listen(self, listener: Listener) -> None:
        """Call the listener at each count from now on; what it raises is logged once."""
        self._listeners = (*self._listeners, listener)

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
            bucket = self._bucket(name)
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
            self._drops.clear()
            self._names.clear()

    def _add(self, name: str, which: int, n: int) -> None:
        if not isinstance(n, int) or isinstance(n, bool) or n < 0:
            raise ValueError(f"n is {n!r:.100}; allowed is a whole number from 0")
        route = _current_route()
        with self._lock:
            counts = self._counts.get((name, route))
            if counts is None:
                counts = self._begin(name, route)
            counts[which] += n
        if self._listeners:
            self._tell(name, route, (n, 0) if which == _HITS else (0, n))

    def _begin(self, name: str, route: str | None) -> list[int]:
        bucket = self._bucket(name)
        self._names.add(bucket)
        if len(self._counts) >= _MAX_ROUTES and (bucket, route) not in self._counts:
            route = _OTHER
        return self._counts.setdefault((bucket, route), [0, 0])

    def _tell(self, name: str, route: str | None, count: tuple[int, int]) -> None:
        bucket = self._bucket(name)
        for listener in self._listeners:
            try:
                listener(bucket, route, *count)
            except Exception:
                log_once("telling a listener of the cache's counts")

    def _bucket(self, name: str) -> str:
        if not isinstance(name, str):
            raise TypeError(f"name is {name!r:.100}; allowed is text (a count goes in as n=)")
        name = name[:_MAX_NAME_LENGTH]
        return name if name in self._names or len(self._names) < _MAX_NAMES else _OTHER


cache_stats = CacheStats()


def _current_route() -> str | None:
    rule = request.url_rule if has_request_context() else None
    return None if rule is None else rule.rule
