"""The figures of the machine as lines to read, once or again and again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

from flask_perfkit.system.figures import MB, SystemMetrics, get_system_metrics, shown


class Look(NamedTuple):
    """What was seen, and what was seen so many seconds before, if this is not the first look."""

    metrics: SystemMetrics
    before: SystemMetrics | None = None
    elapsed: float = 0.0

    def lines(self) -> list[str]:
        """Return it as lines, without what the platform does not have.

        Disks and network are by the second, and since the machine's start at the first look.
        """
        now = self.metrics
        memory = shown(now.memory_rss, "{:.1f}MB", unit=MB)
        if memory and now.memory_percent is not None:
            memory += f" ({now.memory_percent:.1f}%)"
        rows = {
            "machine": {
                "load": shown(now.load_average, "{:.2f}"),
                "memory": shown(now.machine_memory_percent, "{:.1f}%"),
                "disk": shown(now.disk_percent, "{:.1f}%"),
            },
            "disks": {
                "read": self._flow("disk_read_bytes"),
                "written": self._flow("disk_write_bytes"),
            },
            "network": {
                "sent": self._flow("net_sent_bytes"),
                "received": self._flow("net_recv_bytes"),
            },
            "container": {
                "memory": shown(now.memory_limit, "{:.1f}MB", unit=MB),
                "cpu": shown(now.cpu_limit, "{:.1f} cores"),
            },
            "command": {
                "cpu": shown(now.cpu_percent, "{:.1f}%"),
                "memory": memory,
                "threads": shown(now.threads, "{:.0f}"),
                "files": shown(now.open_files, "{:.0f}"),
                "collections": shown(now.gc_collections, "{:.0f}"),
            },
        }
        return [line for name, figures in rows.items() if (line := _line(name, figures))]

    def _flow(self, name: str) -> str | None:
        """Return bytes by the second, of a figure that only grows; in all without a look before."""
        now = getattr(self.metrics, name)
        before = getattr(self.before, name, None)
        if now is None or before is None:
            return shown(now, "{:.1f}MB", unit=MB)
        return shown((now - before) / self.elapsed, "{:.1f}MB/s", unit=MB)


def looks(seconds: float | None) -> Iterator[Look]:
    """Look once, or every so many seconds without end.

    :raises ExtraMissing: psutil is not installed.
    """
    seen, before = time.monotonic(), get_system_metrics()
    yield Look(before)
    while seconds is not None:
        time.sleep(seconds)
        now, metrics = time.monotonic(), get_system_metrics()
        yield Look(metrics, before, now - seen)
        seen, before = now, metrics


def _line(name: str, figures: dict[str, str | None]) -> str | None:
    shown = [f"{figure} {value}" for figure, value in figures.items() if value is not None]
    return f"{name:<11}{'   '.join(shown)}" if shown else None
