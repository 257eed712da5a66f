"""What this process has counted: the rows, and how to add to them.

A process has one set of them, however many applications it runs: they share one page.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, TypeAlias

from flask_perfkit.errors import SettingsError
from flask_perfkit.faults import log_once
from flask_perfkit.metrics.store import directory as files
from flask_perfkit.metrics.store.counters import Row, Waits, counter
from flask_perfkit.metrics.store.exemplars import Exemplar, write_exemplar
from flask_perfkit.metrics.store.labels import OTHER, Labels
from flask_perfkit.metrics.store.layout import (
    ASKED,
    CACHE,
    CPU_AT_END,
    HITS,
    LEFT_OUT,
    NAMESPACE,
    PID,
    PLAIN,
    POOL_RETURNED,
    POOL_TAKEN,
    PROCESS,
    RECEIVED,
    REQUEST,
    ROUTE,
    RUNS,
    STARTED,
    TOTAL,
    WAIT,
    Layout,
)
from flask_perfkit.metrics.store.rows import Memory, Rows
from flask_perfkit.metrics.store.siblings import own_namespace, shared_directory

logger = logging.getLogger("flask_perfkit")

SET_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
"""Names, in the environment, where the workers of a server meet; prometheus_client's own name."""
_FAILED = 500
_STATUSES = range(100, 1000)
_LONGEST_NUMBER = 15
_NO_CELLS = memoryview(b"").cast("d")

Key = tuple[str, ...]
"""A kind of row and its labels."""

RowsOfSort: TypeAlias = tuple[Row, Row]
"""Where a request is counted: its own row, and that of its route."""


class Figures:
    """The rows of this process.

    Opened at the first request, so that a master which only forks has none. ``lock`` is held
    around additions, but for what has a counter of its own. ``requests`` and ``plain`` remember
    where requests of a sort are counted, ``plain`` those that ask no database; ``process`` is the
    row of this process.
    """

    def __init__(self) -> None:
        self.layout = Layout()
        self.directory: Path | None = None
        self._chosen: Layout | None = None
        self._many = False
        self._forget()

    def _forget(self) -> None:
        self.lock = Lock()
        self.process: Row = _NO_CELLS
        self.rows: Rows | None = None
        self.count_start: Callable[[], object] = self._begin
        self.count_taken: Callable[[], object] = partial(self.add_to_process, POOL_TAKEN, 1)
        self.count_returned: Callable[[], object] = partial(self.add_to_process, POOL_RETURNED, 1)
        self.waits: Waits | None = None
        self.requests: dict[Any, RowsOfSort] = {}
        self.plain: dict[Any, RowsOfSort] = {}
        self.labels = Labels()
        self._known: dict[Key, Row] = {}
        self._waiting: dict[tuple[Key, int], float] = {}
        self.path: Path | None = None

    def choose(self, layout: Layout) -> None:
        """Take the buckets that an application set.

        :raises SettingsError: another application of this process has set others.
        """
        if self._chosen not in (None, layout):
            raise SettingsError(
                f"PERFKIT_METRICS_BUCKETS is {layout.request}, but another application of this "
                f"process has {self.layout.request}; allowed is one choice, as they share a page"
            )
        self.layout = self._chosen = layout

    def _begin(self) -> None:
        """Count the first request of a process that begins."""
        with self.lock:
            if self.rows is None:
                self._open()
        self.count_start()

    def leave_out(self) -> None:
        """Take back that a request began: it is none that is counted."""
        with self.lock:
            self.process[LEFT_OUT] += 1

    def expect_many(self, many: bool) -> None:
        """Note whether the server says that it has several workers."""
        self._many = self._many or many

    def _open(self) -> None:
        self.directory = self._shared_directory()
        if self.directory is not None:
            try:
                self._open_file(self.directory)
                return
            except Exception:
                log_once(f"counting in {self.directory} (this worker's figures stay in its memory)")
        self._use(Rows(Memory(), self.layout))

    def _shared_directory(self) -> Path | None:
        """Return where the workers meet; None where there is one only, or no way to find it."""
        name = os.environ.get(SET_DIRECTORY)
        if not files.can_lock:
            directory = None
        elif name:
            directory = Path(name)
            with suppress(OSError):
                directory.mkdir(parents=True, exist_ok=True)
        else:
            directory = shared_directory() if self._many else None
        if directory is None and (self._many or name):
            logger.warning(
                "The server has several workers, but Prometheus will see one of them only, a "
                "different one each time: set %s to a directory that all of them can write to",
                SET_DIRECTORY,
            )
        return directory

    def _open_file(self, directory: Path) -> None:
        file = files.WorkerFile(directory)
        try:
            self._use(Rows(file, self.layout))
            file.publish()
            self.path = file.path
        except BaseException:
            self.rows = None
            self._known.clear()
            file.close()
            with suppress(OSError):
                file.path.unlink()
            raise

    def _use(self, rows: Rows) -> None:
        self.rows = rows
        self.process = self._row(PROCESS)
        self.process[PID] = os.getpid()
        self.process[NAMESPACE] = own_namespace()
        for (key, cell), amount in self._waiting.items():
            self._add(cell, amount, *key)
        self._waiting.clear()
        self.waits = Waits(self._row(WAIT), self.layout.place_of_wait)
        self.count_taken = counter(self.process, POOL_TAKEN)
        self.count_returned = counter(self.process, POOL_RETURNED)
        self.count_start = counter(self.process, STARTED)

    def place_of(
        self, sort: Any, method: str, prefix: str, rule: str | None, status: int
    ) -> RowsOfSort:
        """Find, or make, the rows of a request of a sort that was not counted before.

        :raises OSError: there is no room for a row.
        """
        with self.lock:
            method, route, known = self.labels.of(method, prefix, rule)
            self._row(REQUEST, method, route, str(_FAILED))  # errors are counted from zero
            labels = method, route, str(status) if status in _STATUSES else OTHER
            place = self._row(REQUEST, *labels), self._row(ROUTE, route)
            if known:
                self.plain[sort] = self._row(PLAIN, *labels), _NO_CELLS
                self.requests[sort] = place
            return place

    def _row(self, *key: str) -> Row:
        assert self.rows is not None
        row = self._known.get(key)
        if row is None:
            row = self.rows.append(json.dumps(key), self.layout.width(key[0]))
            self._known[key] = row
        return row

    def count_received(self, row: Row, length: str) -> None:
        """Count the bytes of a request's body, as its header gives them."""
        if length.isdecimal() and len(length) <= _LONGEST_NUMBER:
            with self.lock:
                row[RECEIVED] += int(length)

    def keep_exemplar(self, row: Row, exemplar: Exemplar) -> None:
        """Keep the trace of a request beside its figures."""
        with self.lock:
            write_exemplar(row, exemplar)

    def count_finding(self, prefix: str, rule: str | None, kind: str) -> None:
        """Count a finding of a request."""
        with self.lock:
            _, route, _ = self.labels.of("GET", prefix, rule)
            kinds = self.layout.kinds
            place = kinds.index(kind if kind in kinds else OTHER)
            self._add(self.layout.first_kind + place, 1, ROUTE, route)

    def count_cache(self, name: str, hits: int, misses: int) -> None:
        """Count what a cache was asked for."""
        with self.lock:
            self._add(ASKED, hits + misses, CACHE, name)
            self._add(HITS, hits, CACHE, name)

    def count_block(self, kind: str, name: str, amount: float) -> None:
        """Count a block whose time was taken or whose memory was tracked."""
        with self.lock:
            label = self.labels.of_block(name)
            self._add(RUNS, 1, kind, label)
            self._add(TOTAL, amount, kind, label)

    def count_wait(self, nanoseconds: int) -> None:
        """Count the time that it took to get a connection from a pool, or to get none."""
        with self.lock:
            if self.waits is None:
                self._add(0, nanoseconds, WAIT)
                self._add(self.layout.place_of_wait(nanoseconds), 1, WAIT)
                return
        self.waits.put(nanoseconds)
        self.waits.add()
        self.waits.counters[self.waits.place_of(nanoseconds)]()

    def add_to_process(self, cell: int, amount: float) -> None:
        """Change a gauge of this process."""
        with self.lock:
            if self.rows is None:
                self._add(cell, amount, PROCESS)
            else:
                self.process[cell] += amount

    def set_in_process(self, cell: int, value: float) -> None:
        """Set a gauge of this process."""
        with self.lock:
            if self.rows is None:
                self._waiting[(PROCESS,), cell] = value
            else:
                self.process[cell] = value

    def _add(self, cell: int, amount: float, *key: str) -> None:
        """Add to a cell of a row; it waits where no request has opened the rows yet."""
        if self.rows is None:
            self._waiting[key, cell] = self._waiting.get((key, cell), 0) + amount
        else:
            row = self._row(*key)
            row[cell] += amount

    def to_bytes(self) -> bytes:
        """Return a copy of this process's rows."""
        with self.lock:
            if self.rows is None:
                self._open()
            assert self.rows is not None
            return self.rows.to_bytes()

    def close(self) -> None:
        """Let go of what is open; the next request opens it anew."""
        rows = self.rows
        self._forget()
        if rows is not None:
            rows.close()

    def note_end(self) -> None:
        """Leave the processor time of this process to those that go on."""
        if self.rows is not None:
            self.set_in_process(CPU_AT_END, time.process_time())


figures = Figures()
"""The figures of this process."""


def _in_child() -> None:
    try:
        figures.close()
    except Exception:
        log_once("leaving the parent's figures to it")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
atexit.register(figures.note_end)
