"""What the processes of a server use, by the accounts of ``/proc``."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

_PROC = Path("/proc")
_UTIME, _STIME, _THREADS, _STARTED, _VIRTUAL, _RESIDENT = 11, 12, 17, 19, 20, 21
_MAX_FDS = "Max open files"


@dataclass
class Usage:
    """What one process uses, or several together; zeros where there is no ``/proc``.

    ``cpu`` is in seconds, ``started`` when the oldest was, in seconds since 1970.
    """

    resident_memory: float = 0.0
    virtual_memory: float = 0.0
    cpu: float = 0.0
    threads: float = 0.0
    open_fds: float = 0.0
    max_fds: float = 0.0
    processes: int = 0
    started: float = float("inf")

    def add(self, other: Usage) -> None:
        """Add what another process uses."""
        started = min(self.started, other.started)
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))
        self.started = started


def usage_of(pid: int) -> Usage:
    """Look at one process; one that is gone uses nothing."""
    process = _PROC / str(pid)
    usage = Usage()
    with suppress(OSError, ValueError, IndexError):
        # The command before the bracket may hold anything.
        stat = (process / "stat").read_text(errors="replace").rpartition(")")[2].split()
        ticks = os.sysconf("SC_CLK_TCK")
        usage = Usage(
            resident_memory=float(stat[_RESIDENT]) * os.sysconf("SC_PAGE_SIZE"),
            virtual_memory=float(stat[_VIRTUAL]),
            cpu=(float(stat[_UTIME]) + float(stat[_STIME])) / ticks,
            threads=float(stat[_THREADS]),
            processes=1,
            started=_booted() + float(stat[_STARTED]) / ticks,
        )
        usage.max_fds = _max_fds(process)
        usage.open_fds = len(os.listdir(process / "fd"))
    return usage


def started_at(pid: int) -> float:
    """Return when a process was started, in seconds since 1970; infinity if it is gone."""
    return usage_of(pid).started


def _max_fds(process: Path) -> float:
    """Return how many descriptors a process may open; infinity is spelled out there."""
    for line in (process / "limits").read_text().splitlines():
        if line.startswith(_MAX_FDS):
            return float(line.split()[3].replace("unlimited", "inf"))
    return 0.0


@cache
def _booted() -> float:
    for line in (_PROC / "stat").read_text().splitlines():
        if line.startswith("btime "):
            return float(line.split()[1])
    return 0.0
