"""Totals that are kept in the process for ``PERFKIT_COUNT_TTL`` seconds."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from sqlalchemy import Engine

_MOST_KEPT = 1_000


class _Total(NamedTuple):
    value: int
    expires: float


_totals: WeakKeyDictionary[Engine, dict[bytes, _Total]] = WeakKeyDictionary()


def keep_total(engine: Engine, key: bytes, ttl: float, count: Callable[[], int]) -> int:
    """Return the total kept under a key, or count and keep it for ``ttl`` seconds."""
    totals = _totals.setdefault(engine, {})
    kept = totals.get(key)
    if kept is not None and monotonic() < kept.expires:
        return kept.value
    total = count()
    totals.pop(key, None)  # the newest stands last
    totals[key] = _Total(total, monotonic() + ttl)
    while len(totals) > _MOST_KEPT:
        totals.pop(next(iter(totals)), None)
    return total
