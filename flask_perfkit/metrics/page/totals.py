"""What all workers have counted, those that have ended included."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable
from operator import add, itemgetter
from pathlib import Path

from flask_perfkit.faults import log_once
from flask_perfkit.metrics.page.others import forget_gauges
from flask_perfkit.metrics.page.processes import Usage, started_at, usage_of
from flask_perfkit.metrics.store import directory as files
from flask_perfkit.metrics.store.figures import Figures, Key
from flask_perfkit.metrics.store.layout import (
    CPU_AT_END,
    CPU_ENDED,
    CPU_SEEN,
    ENDED,
    EXEMPLAR,
    LABELS,
    LEFT_OUT,
    NAMESPACE,
    PID,
    PLAIN,
    PROCESS,
    RECEIVED,
    REQUEST,
    ROUTE,
    STARTED,
    Layout,
)
from flask_perfkit.metrics.store.rows import Memory, Rows, read_rows
from flask_perfkit.metrics.store.siblings import own_namespace, server

_FOLDED = "folded"
_TIMESTAMP = RECEIVED - 1
"""Where the moment of a request's exemplar stands."""


class Totals:
    """Rows of several processes, added up."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.rows: dict[Key, list[float]] = {}
        self.living: list[list[float]] = []
        self.dead: list[list[float]] = []
        self.usage = Usage()
        self.in_progress = 0
        self.folded: set[str] = set()
        self.paths: set[Path] = set()

    @property
    def cpu_ended(self) -> float:
        """Seconds of processor time of the processes that have ended."""
        return self.rows.get((ENDED,), [0.0])[CPU_ENDED]

    def add(self, data: bytes, *, alive: bool) -> int | None:
        """Add the rows of one process, and return where its own row is.

        :raises ValueError: these are no rows.
        """
        layout, blocks = read_rows(data)
        adopted = []
        for text, place, cells in blocks:
            key = _checked(text)
            if key[0] == _FOLDED:
                self.folded.add(key[1])
            else:
                adopted.append((key, place, self.layout.adopt(key[0], cells, layout)))
        own, finished = None, 0.0
        for key, place, cells in adopted:
            if key[0] == PROCESS:
                own = place
                self._add_process(cells, alive=alive)
                continue
            if key[0] in (REQUEST, PLAIN):
                finished += sum(cells[:EXEMPLAR])
            self._add_row(key, cells)
        if own is not None and alive:
            begun = self.living[-1][STARTED] - self.living[-1][LEFT_OUT]
            self.in_progress += max(round(begun - finished), 0)
        return own

    def add_all(self, other: Totals) -> None:
        """Add what another total has of rows."""
        for key, cells in other.rows.items():
            self._add_row(key, cells)

    def merge_plain(self) -> None:
        """Count the requests that asked no database with the others."""
        for key in [key for key in self.rows if key[0] == PLAIN]:
            cells = self.rows.pop(key)
            _, _, route, _ = key
            statements = [0.0] * self.layout.width(ROUTE)
            statements[1] = sum(cells[:EXEMPLAR])
            self._add_row((ROUTE, route), statements)
            self._add_row((REQUEST, *key[1:]), cells)

    def _add_row(self, key: Key, cells: list[float]) -> None:
        before = self.rows.get(key)
        if before is None:
            self.rows[key] = list(cells)
            return
        total = list(map(add, before, cells))
        if key[0] == REQUEST:  # exemplars are not added: the last one counts
            later = max(before, cells, key=itemgetter(_TIMESTAMP))
            total[EXEMPLAR:RECEIVED] = later[EXEMPLAR:RECEIVED]
        self.rows[key] = total

    def _add_process(self, cells: list[float], *, alive: bool) -> None:
        if alive:
            self.living.append(cells)
        else:
            self.dead.append(cells)
            self._add_row((ENDED,), [max(cells[CPU_SEEN], cells[CPU_AT_END])])

    def to_bytes(self, folded: Iterable[str]) -> bytes:
        """Write it as rows; ``folded`` names the files that are in it and may still be there."""
        rows = Rows(Memory(), self.layout)
        for name in folded:
            rows.append(json.dumps([_FOLDED, name]), 0)
        for key, cells in self.rows.items():
            rows.append(json.dumps(key), len(cells))[:] = memoryview(array("d", cells))
        return rows.to_bytes()


def _checked(text: str) -> Key:
    """Read the key of a row.

    :raises ValueError: it is none.
    """
    key = json.loads(text)
    if isinstance(key, list) and key and all(isinstance(part, str) for part in key):
        labels = 1 if key[0] == _FOLDED else LABELS.get(key[0])
        if len(key) - 1 == labels:
            return (*key,)
    raise ValueError(f"no key of a row: {text:.100}")


def gather(figures: Figures) -> Totals:
    """Add up what this process and all others of its server have counted.

    The request that asks for it is not among those in progress.

    :raises TimeoutError: another process holds the directory for too long.
    """
    own = figures.to_bytes()
    directory = figures.directory
    totals = Totals(figures.layout)
    if directory is None or not directory.is_dir():
        _add_living(totals, own, None)
    else:
        try:
            with files.locked(directory):
                _add_workers(totals, directory)
        except TimeoutError:
            raise
        except OSError:
            log_once("reading the figures of the other workers")
            totals = Totals(figures.layout)
        if figures.path not in totals.paths:  # it could not be made, or somebody removed it
            _add_living(totals, own, None)
        parent = server()
        if parent is not None:  # the workers come and go
            totals.usage.started = min(totals.usage.started, started_at(parent))
    totals.merge_plain()
    totals.in_progress = max(totals.in_progress - 1, 0)
    return totals


def _add_workers(totals: Totals, directory: Path) -> None:
    """Add all files of a directory; the caller holds it."""
    sources = files.read_all(directory)
    ended = _fold(directory, [each for each in sources if not each.alive], totals.layout)
    totals.add_all(ended)
    for source in sources:
        if source.alive:
            _add_living(totals, source.data, source.path)
    for pid in _pids(ended.dead) - _pids(totals.living):
        forget_gauges(pid)


def _pids(processes: Iterable[list[float]]) -> set[int]:
    """Return the numbers of those processes that this one numbers in the same way."""
    namespace = own_namespace()
    return {int(cells[PID]) for cells in processes if cells[NAMESPACE] == namespace}


def _add_living(totals: Totals, data: bytes, path: Path | None) -> None:
    """Add a living process, and note in its file what processor time it had."""
    if path is not None:
        totals.paths.add(path)
    try:
        place = totals.add(data, alive=True)
        if place is None:
            return
        cells = totals.living[-1]
        if cells[NAMESPACE] != own_namespace():
            return
        usage = usage_of(int(cells[PID]))
        totals.usage.add(usage)
        if path is not None and usage.cpu > cells[CPU_SEEN]:
            files.write_double(path, place + CPU_SEEN, usage.cpu)
    except (OSError, ValueError):
        log_once("reading the figures of a worker")


def _fold(directory: Path, dead: list[files.Source], layout: Layout) -> Totals:
    """Add the dead to the archive, and remove their files.

    The archive names the files that it took last, so that one which is killed before it has
    removed them makes nobody count them again.
    """
    ended = Totals(layout)
    archive = files.read_archive(directory)
    if archive is not None:
        try:
            ended.add(archive, alive=False)
        except ValueError:
            log_once("reading the figures of workers that have ended")
    taken = []
    for source in dead:
        if source.path.name in ended.folded:
            files.remove(source.path)
            continue
        try:
            ended.add(source.data, alive=False)
        except ValueError:
            log_once("reading the figures of a worker that has ended")
        taken.append(source.path)
    if taken:
        try:
            files.write_archive(directory, ended.to_bytes(path.name for path in taken))
            for path in taken:
                files.remove(path)
        except OSError:
            log_once("folding the figures of workers that have ended")
    return ended
