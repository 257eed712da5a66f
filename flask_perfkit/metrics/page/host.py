"""The figures of the machine and its container, as series named ``system_*``."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from flask_perfkit.system.figures import get_system_metrics

_GAUGES = (
    ("disk_percent", "disk_used_percent", "How full the file system at / is."),
    ("memory_limit", "memory_limit_bytes", "Most memory that the container may use."),
    ("cpu_limit", "cpu_limit_cores", "Most processors that the container may use."),
)
_COUNTERS = (
    ("disk_read_bytes", "disk_read_bytes", "Bytes read from all disks."),
    ("disk_write_bytes", "disk_written_bytes", "Bytes written to all disks."),
    ("net_sent_bytes", "network_sent_bytes", "Bytes sent by all interfaces."),
    ("net_recv_bytes", "network_received_bytes", "Bytes received by all interfaces."),
)


def host_families() -> Iterator[Metric]:
    """Yield the machine's figures that the platform has; none without psutil."""
    try:
        psutil: Any = import_module("psutil")
    except ImportError:
        return
    figures = get_system_metrics().to_dict()
    for field, name, text in _GAUGES:
        if figures[field] is not None:
            yield GaugeMetricFamily(f"system_{name}", text, figures[field])
    for field, name, text in _COUNTERS:
        if figures[field] is not None:
            yield CounterMetricFamily(f"system_{name}", text, figures[field])
    memory = psutil.virtual_memory()
    yield GaugeMetricFamily("system_memory_bytes", "Memory of the machine.", memory.total)
    yield GaugeMetricFamily(
        "system_memory_available_bytes",
        "Memory that can be had without swapping.",
        memory.available,
    )
    seconds = CounterMetricFamily("system_cpu_seconds", "Time of all processors.", labels=("mode",))
    for mode, value in psutil.cpu_times()._asdict().items():
        seconds.add_metric((mode,), value)
    yield seconds
