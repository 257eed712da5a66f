"""How often PostgreSQL uses each index, and how large it is, read while Prometheus waits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from queue import Empty, Queue
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from sqlalchemy import Engine, text

from flask_perfkit.faults import log_once

if TYPE_CHECKING:
    from flask import Flask

_LONGEST = 1.0  # seconds
_MOST_INDEXES = 500
_LABELS = ("table", "index")

_USE = text(
    "SELECT schemaname || '.' || relname, indexrelname, idx_scan, pg_relation_size(indexrelid)"
    " FROM pg_stat_user_indexes ORDER BY 4 DESC, 1, 2 LIMIT :most"
)

Use = Sequence[tuple[str, str, int, int]]
"""Table, index, scans, bytes."""


class IndexUse:
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

    def _ask(self) -> Use | None:
        engine = self._engine()
        if engine is None or engine.dialect.name != "postgresql":
            return None
        if not self._busy.acquire(blocking=False):
            return None
        answer: Queue[Use | None] = Queue(1)
        Thread(target=self._read, args=(engine, answer), daemon=True).start()
        try:
            return answer.get(timeout=_LONGEST)
        except Empty:
            return None

    def _engine(self) -> Engine | None:
        db = self._db or self._app.extensions.get("sqlalchemy")
        engine = getattr(db, "engine", None)
        return engine if isinstance(engine, Engine) else None

    def _read(self, engine: Engine, answer: Queue[Use | None]) -> None:
        try:
            answer.put(_use_of(engine))
        except Exception:
            log_once("reading the use of indexes")
            answer.put(None)
        finally:
            self._busy.release()


def _use_of(engine: Engine) -> Use:
    with engine.connect() as connection:
        connection.execute(text(f"SET LOCAL statement_timeout = {round(_LONGEST * 1000)}"))
        rows = connection.execute(_USE, {"most": _MOST_INDEXES})
        return [(table, index, scans, size) for table, index, scans, size in rows]
