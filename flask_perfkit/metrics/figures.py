"""What this process has counted: the rows, and how to add to them.

There is one in a process, whatever the number of applications: they share one page.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import time
from bisect import bisect_left
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any

from flask_perfkit.errors import SettingsError
from flask_perfkit.faults import log_once
from flask_perfkit.metrics import directory as files
from flask_perfkit.metrics.exemplars import Exemplar, write_exemplar
from flask_perfkit.metrics.labels import OTHER, Labels
from flask_perfkit.metrics.layout import (
    ASKED,
    CACHE,
    CPU_AT_END,
    HITS,
    LEFT_OUT,
    NAMESPACE,
    PID,
    PROCESS,
    RECEIVED,
    REQUEST,
    ROUTE,
    STARTED,
    WAIT,
    Layout,
)
from flask_perfkit.metrics.rows import Memory, Rows
from flask_perfkit.metrics.siblings import own_namespace, shared_directory

logger = logging.getLogger("flask_perfkit")

_SET_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
_FAILED = 500
_STATUSES = range(100, 1000)
_LONGEST_NUMBER = 15
_NO_CELLS = memoryview(b"").cast("d")

Place = tuple[int, int]
"""Where a request is counted: the first bucket of its row, and the first cell of its route's."""


class Figures:
    """The rows of this process.

    Opened at the first request, so that a master which only forks has none. ``lock`` is held
    around all additions; ``cells`` is read under it. ``requests`` remembers where requests of a
    sort are counted.
    """

    def __init__(self) -> None:
        self.layout = Layout()
        self.directory: Path | None = None
        self._chosen: Layout | None = None
        self._many = False
        self._forget()

    def _forget(self) -> None:
        self.lock = Lock()
        self.cells = _NO_CELLS
        self.rows: Rows | None = None
        self.requests: dict[Any, Place] = {}
        self.labels = Labels()
        self._places: dict[str, int] = {}
        self._process = 0
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

    def begin(self) -> None:
        """Count a request that begins."""
        try:
            with self.lock:
                self.cells[self._process + STARTED] += 1
        except IndexError:
            self._begin_here()

    def _begin_here(self) -> None:
        """Count the first request of a process."""
        with self.lock:
            if self.rows is None:
                self._open()
            self.cells[self._process + STARTED] += 1

    def leave_out(self) -> None:
        """Take back that a request began: it is none that is counted."""
        with self.lock:
            self.cells[self._process + LEFT_OUT] += 1

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
        name = os.environ.get(_SET_DIRECTORY)
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
                _SET_DIRECTORY,
            )
        return directory

    def _open_file(self, directory: Path) -> None:
        file = files.WorkerFile(directory)
        try:
            self._use(Rows(file, self.layout))
            file.publish()
            self.path = file.path
        except BaseException:
            file.close()
            with suppress(OSError):
                file.path.unlink()
            raise

    def _use(self, rows: Rows) -> None:
        place = rows.append(json.dumps([PROCESS]), self.layout.width(PROCESS))
        rows.cells[place + PID], rows.cells[place + NAMESPACE] = os.getpid(), own_namespace()
        self.rows, self._process, self.cells = rows, place, rows.cells

    def place_of(
        self, sort: Any, method: str, prefix: str, rule: str | None, status: int
    ) -> Place:
        """Find, or make, the row of a request of a sort that was not counted before.

        :raises OSError: there is no room for a row.
        """
        with self.lock:
            method, route, known = self.labels.of(method, prefix, rule)
            self._row(REQUEST, method, route, str(_FAILED))  # errors are counted from zero
            number = str(status) if status in _STATUSES else OTHER
            row = self._row(REQUEST, method, route, number)
            place = row + self.layout.first_bucket, self._row(ROUTE, route)
            if known:
                self.requests[sort] = place
            return place

    def row(self, kind: str, *labels: str) -> int:
        """Return the first cell of a row, which is made if need be; the caller holds the lock.

        :raises OSError: there is no room for it.
        """
        if self.rows is None:
            self._open()
        return self._row(kind, *labels)

    def _row(self, kind: str, *labels: str) -> int:
        assert self.rows is not None
        key = json.dumps([kind, *labels])
        place = self._places.get(key)
        if place is None:
            place = self._places[key] = self.rows.append(key, self.layout.width(kind))
            self.cells = self.rows.cells
        return place

    def count_received(self, bucket: int, length: str) -> None:
        """Count the bytes of a request's body, as its header gives them."""
        if length.isdecimal() and len(length) <= _LONGEST_NUMBER:
            with self.lock:
                self.cells[bucket - RECEIVED] += int(length)

    def keep_exemplar(self, bucket: int, exemplar: Exemplar) -> None:
        """Keep the trace of a request beside its figures."""
        with self.lock:
            write_exemplar(self.cells, bucket, exemplar)

    def count_finding(self, route: str, kind: str) -> None:
        """Count a finding of a request."""
        with self.lock:
            place = self.layout.first_kind + self.layout.kinds.index(kind)
            self.cells[self.row(ROUTE, route) + place] += 1

    def count_cache(self, name: str, hits: int, misses: int) -> None:
        """Count what a cache was asked for."""
        with self.lock:
            row = self.row(CACHE, name)
            self.cells[row + ASKED] += hits + misses
            self.cells[row + HITS] += hits

    def count_wait(self, nanoseconds: int) -> None:
        """Count the time that it took to get a connection from a pool."""
        with self.lock:
            row = self.row(WAIT)
            self.cells[row] += nanoseconds
            self.cells[row + 1 + bisect_left(self.layout.wait_bounds, nanoseconds)] += 1

    def add_to_process(self, cell: int, amount: float) -> None:
        """Change a gauge of this process."""
        with self.lock:
            if self.rows is None:
                self._open()
            self.cells[self._process + cell] += amount

    def set_in_process(self, cell: int, value: float) -> None:
        """Set a gauge of this process."""
        with self.lock:
            if self.rows is None:
                self._open()
            self.cells[self._process + cell] = value

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
