"""Totals of one bucket of time: numbers and durations by what they belong to, which add up."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from flask_perfkit.store.histogram import Histogram

Key = tuple[Any, ...]
"""Texts, numbers and None, as JSON can hold them."""

_DIGITS = 7
_FASTEST = 1

_to_json = json.JSONEncoder(separators=(",", ":")).encode


class Sort(NamedTuple):
    """One sort of totals.

    :param most: keys of one bucket; what there is no room for is counted under ``other``.
    """

    name: str
    most: int
    other: Key


ROUTES = Sort("route", 300, ("request", "*", "(other)", ""))
"""By kind, method, name and endpoint: count, watched, errors, seconds, statements, their seconds.

``watched`` is how many were really seen; ``count`` is more where they are a sample.
"""

STATEMENTS = Sort("statement", 500, ("", "request", "*", "(other)"))
"""By fingerprint, kind, method and name of the route: count, watched, errors, seconds."""

FINDINGS = Sort("finding", 500, ("", "request", "*", "(other)"))
"""By id, kind, method and name of the route: requests, watched, seconds."""

CACHES = Sort("cache", 300, ("(other)", None))
"""By name and rule: hits, misses."""

DROPS = Sort("drop", 300, ("(other)", "(other)"))
"""By name of the cache and table: values that a change of the table had made old."""

SYSTEM = Sort("system", 200, ("(other)",))
"""By process: looks, seconds since the look before, then what a look of :mod:`.looks` reads."""

SORTS = (ROUTES, STATEMENTS, FINDINGS, CACHES, DROPS, SYSTEM)


class Entry:
    """The numbers of one key, and how long each took where that was counted."""

    __slots__ = ("histogram", "numbers")

    def __init__(self, numbers: Sequence[float | None], histogram: Histogram | None = None) -> None:
        self.numbers = list(numbers)
        self.histogram = Histogram() if histogram is None else histogram

    def add(self, numbers: Iterable[float | None]) -> None:
        """Add numbers, each to its own; None is what is not known."""
        self.numbers = [
            mine if more is None else (mine or 0) + more
            for mine, more in zip(self.numbers, numbers, strict=True)
        ]


class Totals(dict[Key, Entry]):
    """The totals of one sort, as many as there is room for."""

    def __init__(self, sort: Sort) -> None:
        super().__init__()
        self._sort = sort

    def entry(self, key: Key, size: int) -> Entry:
        """Return the entry of a key, a new one of so many numbers where there is none."""
        entry = self.get(key)
        if entry is None:
            if len(self) >= self._sort.most:
                key = self._sort.other
            entry = self.setdefault(key, Entry([None] * size))
        return entry

    def merge(self, other: Iterable[tuple[Key, Entry]]) -> None:
        """Add other totals of the sort."""
        for key, more in other:
            entry = self.entry(key, len(more.numbers))
            entry.add(more.numbers)
            entry.histogram.merge(more.histogram)

    def encode(self) -> bytes:
        """Return the totals as compressed JSON."""
        rows = [
            (key, _rounded(entry.numbers), [*entry.histogram], _rounded(entry.histogram.values()))
            for key, entry in self.items()
        ]
        return zlib.compress(_to_json(rows).encode(), _FASTEST)


def decoded(body: bytes) -> Iterator[tuple[Key, Entry]]:
    """Yield what :meth:`Totals.encode` made bytes of."""
    for key, numbers, buckets, counts in json.loads(zlib.decompress(body)):
        yield tuple(key), Entry(numbers, Histogram(zip(buckets, counts, strict=True)))


def _rounded(numbers: Iterable[float | None]) -> list[float | None]:
    return [round(each, _DIGITS) if isinstance(each, float) else each for each in numbers]
