"""Counts connections as pools open, lend and close them, and how long it takes to get one.

Another worker cannot look into a pool, so its state is written down as it changes.
"""

from __future__ import annotations

import os
from functools import wraps
from time import perf_counter_ns
from typing import Any
from weakref import WeakSet

from sqlalchemy import event
from sqlalchemy.pool import Pool, PoolProxiedConnection

from flask_perfkit.faults import log_once
from flask_perfkit.metrics.store.figures import figures
from flask_perfkit.metrics.store.layout import POOL_MOST, POOL_OPEN, POOL_SIZE, POOL_USED

_pools: WeakSet[Pool] = WeakSet()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pools.clear)


def watch_pools() -> None:
    """Watch all pools from now on; harmless when called again."""
    if not event.contains(Pool, "connect", _on_connect):
        for name, listener in _LISTENERS.items():
            event.listen(Pool, name, listener)
        Pool.connect = _timed(Pool.connect)  # type: ignore[method-assign]


def _timed(connect: Any) -> Any:
    @wraps(connect)
    def timed(pool: Pool) -> PoolProxiedConnection:
        started = perf_counter_ns()
        try:
            connection: PoolProxiedConnection = connect(pool)
            return connection
        finally:
            try:
                figures.count_wait(perf_counter_ns() - started)
                if pool not in _pools:
                    _pools.add(pool)
                    _measure_pools()
            except Exception:
                log_once("watching a pool")

    return timed


def _measure_pools() -> None:
    """Note how many connections the pools may have."""
    size = most = 0
    for pool in list(_pools):
        own: int = pool.size() if hasattr(pool, "size") else 0
        size += own
        most += own + max(getattr(pool, "_max_overflow", 0), 0)
    figures.set_in_process(POOL_SIZE, size)
    figures.set_in_process(POOL_MOST, most)


def _on_connect(*_: Any) -> None:
    _change(POOL_OPEN, 1)


def _on_close(*_: Any) -> None:
    _change(POOL_OPEN, -1)


def _on_checkout(*_: Any) -> None:
    _change(POOL_USED, 1)


def _on_checkin(*_: Any) -> None:
    _change(POOL_USED, -1)


def _on_detach(*_: Any) -> None:
    _change(POOL_USED, -1)
    _change(POOL_OPEN, -1)


def _change(cell: int, amount: int) -> None:
    try:
        figures.add_to_process(cell, amount)
    except Exception:
        log_once("watching a pool")


_LISTENERS = {
    "connect": _on_connect,
    "close": _on_close,
    "checkout": _on_checkout,
    "checkin": _on_checkin,
    "detach": _on_detach,
}
