"""Counts connections as pools open, lend and close them, and how long it takes to get one.

Another worker cannot look into a pool, so its state is written down as it changes. Nearly every
request takes a connection and returns it: that is not done by SQLAlchemy's events, which cost
several times what the counting costs.
"""

from __future__ import annotations

import os
import sys
from functools import wraps
from time import perf_counter_ns
from traceback import walk_tb
from typing import Any
from weakref import ref

from sqlalchemy import event
from sqlalchemy.pool import Pool, PoolProxiedConnection, SingletonThreadPool

from flask_perfkit.faults import log_once
from flask_perfkit.metrics.store.figures import figures
from flask_perfkit.metrics.store.layout import POOL_MOST, POOL_OPEN, POOL_SIZE

_pools: set[ref[Pool]] = set()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pools.clear)


def watch_pools() -> None:
    """Watch all pools from now on; harmless when called again."""
    if not event.contains(Pool, "connect", _on_connect):
        event.listen(Pool, "connect", _on_connect)
        event.listen(Pool, "close", _on_close)
        event.listen(Pool, "detach", _on_detach)
        # It gives one connection to all who ask in a thread, which only the event tells.
        event.listen(SingletonThreadPool, "checkout", _on_checkout)
        Pool.connect = _timed(Pool.connect)  # type: ignore[method-assign]
        Pool._return_conn = _counted(Pool._return_conn)  # type: ignore[method-assign]


def _timed(connect: Any) -> Any:
    @wraps(connect)
    def timed(pool: Pool) -> PoolProxiedConnection:
        started = perf_counter_ns()
        try:
            connection: PoolProxiedConnection = connect(pool)
        except BaseException:
            _count_refused(pool, perf_counter_ns() - started)
            raise
        try:
            waited = perf_counter_ns() - started
            waits = figures.waits
            figures.count_taken()
            if waits is None:
                figures.count_wait(waited)
            else:
                waits.put(waited)
                waits.add()
                waits.counters[waits.place_of(waited)]()
            if ref(pool) not in _pools:
                _measure(pool)
        except Exception:
            log_once("watching a pool")
        return connection

    return timed


def _count_refused(pool: Pool, waited: int) -> None:
    """Count a wait that brought no connection, while its error is being handled.

    Unless the pool itself had none to give, one was taken and found broken, and has been
    returned meanwhile, which was counted.
    """
    try:
        figures.count_wait(waited)
        get = getattr(pool._do_get, "__func__", None)
        frames = walk_tb(sys.exc_info()[2])
        if all(frame.f_code is not getattr(get, "__code__", None) for frame, _ in frames):
            figures.count_taken()
    except Exception:
        log_once("watching a pool")


def _counted(return_conn: Any) -> Any:
    @wraps(return_conn)
    def returning(pool: Pool, record: Any) -> Any:
        try:
            figures.count_returned()
        except Exception:
            log_once("watching a pool")
        return return_conn(pool, record)

    return returning


def _measure(new: Pool) -> None:
    """Note how many connections the pools may have, now that there is one more."""
    _pools.add(ref(new, _pools.discard))
    size = most = 0
    for pool in filter(None, [known() for known in list(_pools)]):
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
    try:
        figures.count_taken()
    except Exception:
        log_once("watching a pool")


def _on_detach(*_: Any) -> None:
    try:
        figures.count_returned()
    except Exception:
        log_once("watching a pool")
    _change(POOL_OPEN, -1)


def _change(cell: int, amount: int) -> None:
    try:
        figures.add_to_process(cell, amount)
    except Exception:
        log_once("watching a pool")
