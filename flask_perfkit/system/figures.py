"""Figures of this process and its machine: processor, memory, disks, network."""

from __future__ import annotations

import gc
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeVar

from flask_perfkit.errors import ExtraMissing

MB = 1024 * 1024

logger = logging.getLogger(__name__)

T = TypeVar("T")
Number = TypeVar("Number", int, float)

_PROC = Path("/proc/self")
_CGROUP = Path("/sys/fs/cgroup")
_UNKNOWN = "n/a"
_SHORTEST_CPU_INTERVAL = 0.1  # seconds; below it the clock's ticks are most of the figure


@dataclass(frozen=True)
class SystemMetrics:
    """What one look at the process and its machine showed.

    A figure that the platform does not have, or that a sandbox hides, is None.

    * This process: ``cpu_percent`` (100 is one core), ``memory_rss`` (bytes),
      ``memory_percent`` (of the machine's memory, or of ``memory_limit`` where that is
      less), ``threads``, ``open_files`` (descriptors: files, sockets, pipes) and
      ``gc_collections`` (all generations, since it started).
    * The machine: ``load_average`` (processes that ran or waited, mean of a minute),
      ``machine_memory_percent`` (in use), ``disk_percent`` of the file system at ``/``; the
      bytes of all disks and of all network interfaces since it started.
    * Its container (cgroup v2): ``memory_limit`` (bytes), ``cpu_limit`` (cores).
    """

    cpu_percent: float
    memory_rss: int | None
    memory_percent: float | None
    threads: int | None
    open_files: int | None
    disk_percent: float | None
    disk_read_bytes: int | None
    disk_write_bytes: int | None
    net_sent_bytes: int | None
    net_recv_bytes: int | None
    gc_collections: int
    load_average: float | None
    machine_memory_percent: float | None
    memory_limit: int | None
    cpu_limit: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return the figures by name, ready for JSON."""
        return asdict(self)


class CpuReading(NamedTuple):
    """The clocks of one process, in seconds."""

    pid: int
    at: float
    cpu: float

    @classmethod
    def now(cls) -> CpuReading:
        """Read the clocks of this process."""
        return cls(os.getpid(), time.monotonic(), time.process_time())


class CpuMeter:
    """The use of the processor from one reading to the next.

    Threads may share it without a lock: what it remembers is replaced whole.
    """

    def __init__(self) -> None:
        self._last = CpuReading(pid=0, at=0.0, cpu=0.0), 0.0

    def percent(self, now: CpuReading, age: float) -> float:
        """Return the percent of one core used since the last call.

        Within a tenth of a second it is the last figure again.

        :param age: seconds since the process started, where the first call counts from.
        """
        since, percent = self._last
        if since.pid != now.pid:  # the first call, or the first in a fork of the last caller
            since, percent = CpuReading(now.pid, now.at - age, 0.0), 0.0
        elapsed = now.at - since.at
        if elapsed < _SHORTEST_CPU_INTERVAL:
            return percent
        percent = 100 * (now.cpu - since.cpu) / elapsed
        self._last = now, percent
        return percent


_cpu_meter = CpuMeter()


def get_system_metrics() -> SystemMetrics:
    """Look at the process and its machine; never waits.

    ``cpu_percent`` is the use since the last call, whichever thread made it, and since
    the start of the process for the first one.

    :raises ExtraMissing: psutil is not installed.
    """
    psutil = _psutil("System metrics")
    process: Any = _readable(psutil.Process)
    disks: Any = _readable(psutil.disk_io_counters)
    network: Any = _readable(psutil.net_io_counters)
    age = _readable(lambda: time.time() - process.create_time())
    memory_rss = _readable(resident_bytes)
    memory_limit = _tightest_limit("memory.max", int)
    machine_memory: Any = _readable(psutil.virtual_memory)
    machine_total = _readable(lambda: machine_memory.total)
    return SystemMetrics(
        cpu_percent=_cpu_meter.percent(CpuReading.now(), age or 0.0),
        memory_rss=memory_rss,
        memory_percent=_memory_percent(memory_rss, memory_limit, machine_total),
        threads=_readable(lambda: process.num_threads()),
        open_files=_readable(lambda: process.num_fds()),
        disk_percent=_readable(lambda: psutil.disk_usage("/").percent),
        disk_read_bytes=_readable(lambda: disks.read_bytes),
        disk_write_bytes=_readable(lambda: disks.write_bytes),
        net_sent_bytes=_readable(lambda: network.bytes_sent),
        net_recv_bytes=_readable(lambda: network.bytes_recv),
        gc_collections=sum(generation["collections"] for generation in gc.get_stats()),
        load_average=_readable(lambda: psutil.getloadavg()[0]),
        machine_memory_percent=_readable(lambda: machine_memory.percent),
        memory_limit=memory_limit,
        cpu_limit=_tightest_limit("cpu.max", _cores),
    )


def log_system_metrics() -> SystemMetrics:
    """Log one line of processor, memory and threads at INFO, and return all figures.

    :raises ExtraMissing: psutil is not installed.
    """
    metrics = get_system_metrics()
    with suppress(Exception):  # a handler that raises is no reason to fail
        logger.info(
            "System: CPU %.1f%%, Memory %s (%s), Threads %s",
            metrics.cpu_percent,
            shown(metrics.memory_rss, "{:.1f}MB", unit=MB) or _UNKNOWN,
            shown(metrics.memory_percent, "{:.1f}%") or _UNKNOWN,
            shown(metrics.threads, "{:.0f}") or _UNKNOWN,
        )
    return metrics


def resident_bytes() -> int:
    """Return the memory that this process holds (RSS), in bytes.

    :raises ExtraMissing: there is no ``/proc`` to read it from, and psutil is not installed.
    """
    try:
        statm = (_PROC / "statm").read_text()
    except FileNotFoundError:
        return int(_psutil("Memory tracking").Process().memory_info().rss)
    return int(statm.split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _psutil(feature: str) -> Any:
    try:
        return import_module("psutil")
    except ImportError as error:
        raise ExtraMissing(feature, "system") from error


def _readable(read: Callable[[], T]) -> T | None:
    """Return what ``read`` does, or None: what is hidden shows as any kind of error."""
    with suppress(Exception):
        return read()
    return None


def _memory_percent(rss: int | None, limit: int | None, total: int | None) -> float | None:
    ceilings = [ceiling for ceiling in (limit, total) if ceiling]
    return 100 * rss / min(ceilings) if rss is not None and ceilings else None


def _tightest_limit(name: str, parse: Callable[[str], Number]) -> Number | None:
    """Return the least limit ``name`` of the process's control group and those above it."""
    limits = []
    for group in _control_groups():
        with suppress(OSError, ValueError):  # no such controller, or "max": no limit
            limits.append(parse((group / name).read_text()))
    return min(limits, default=None)


def _control_groups() -> Iterator[Path]:
    with suppress(OSError):
        for line in (_PROC / "cgroup").read_text().splitlines():
            if line.startswith("0::/"):  # version 2; the others are numbered from 1
                own = PurePosixPath(line.removeprefix("0::/"))
                yield from (_CGROUP / group for group in (own, *own.parents))


def _cores(cpu_max: str) -> float:
    quota, period = cpu_max.split()
    return int(quota) / int(period)


def shown(value: float | None, form: str, unit: int = 1) -> str | None:
    """Return a figure as text; None where it is not known."""
    return None if value is None else form.format(value / unit)
