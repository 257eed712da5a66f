"""How often PostgreSQL uses each index, and how large it is, read while Prometheus waits."""

from __future__ import annotations

from collections.abc import Iterator
from queue import Empty, Queue
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from flask_perfkit.faults import log_once
from flask_perfkit.system.indexes import IndexUse, index_use, postgresql_of

if TYPE_CHECKING:
    from flask import Flask
    from sqlalchemy import Engine

_LONGEST = 1.0  # seconds
_LABELS = ("table", "index")


class IndexUseSource:
    """Reads the use of the indexes of an application's main database.

    A scrape waits a second for it at most: what comes later is shown by none. A pool that has
    no connection left delays nobody, since a thread asks, and never more than one.
    """

    def __init__(self, app: Flask, db: Any) -> None:
        self._app = app
        self._db = db
        self._busy = Lock()

    def __call__(self) -> Iterator[Metric]:
        """Yield the series; none on another database or where it does not answer in time."""
        use = self._ask()
        if use is None:
            return
        scans = CounterMetricFamily("db_index_scans", "Scans that used an index.", labels=_LABELS)
        size = GaugeMetricFamily("db_index_size_bytes", "Size of an index.", labels=_LABELS)
        for table, index, times, size_of in use:
            scans.add_metric((table, index), times)
            size.add_metric((table, index), size_of)
        yield scans
        yield size

    def _ask(self) -> list[IndexUse] | None:
        engine = postgresql_of(self._app, self._db)
        if engine is None:
            return None
        if not self._busy.acquire(blocking=False):
            return None
        answer: Queue[list[IndexUse] | None] = Queue(1)
        Thread(target=self._read, args=(engine, answer), daemon=True).start()
        try:
            return answer.get(timeout=_LONGEST)
        except Empty:
            return None

    def _read(self, engine: Engine, answer: Queue[list[IndexUse] | None]) -> None:
        try:
            answer.put(index_use(engine, _LONGEST))
        except Exception:
            log_once("reading the use of indexes")
            answer.put(None)
        finally:
            self._busy.release()
