"""The figures that the application itself makes with prometheus_client, on the same page."""

from __future__ import annotations

import logging
import os
import struct
from collections.abc import Iterator

from prometheus_client import (
    GC_COLLECTOR,
    PLATFORM_COLLECTOR,
    PROCESS_COLLECTOR,
    REGISTRY,
    CollectorRegistry,
)
from prometheus_client.core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from flask_perfkit.faults import log_once
from flask_perfkit.metrics.store.figures import SET_DIRECTORY, figures

logger = logging.getLogger("flask_perfkit")

_TRIES = 3
_ABOUT_ONE_PROCESS = (GC_COLLECTOR, PLATFORM_COLLECTOR, PROCESS_COLLECTOR)
_CREATED = "_created"


class OtherFigures:
    """Reads prometheus_client's own registry; of several workers, its files.

    Without a directory that was set before it was imported it counts in each worker alone: then
    a page would show one of them only, and shows none.
    """

    def __init__(self) -> None:
        self._has_warned = False

    def __call__(self) -> Iterator[Metric]:
        """Yield the application's families, without the moments at which they were created."""
        for metric in self._collect():
            copy = Metric(metric.name, metric.documentation, metric.type, metric.unit)
            copy.samples = [each for each in metric.samples if not each.name.endswith(_CREATED)]
            yield copy

    def _collect(self) -> list[Metric]:
        if os.environ.get(SET_DIRECTORY):
            return _collect_files()
        if figures.directory is None:
            return list(REGISTRY.collect())
        own = [metric.name for metric in REGISTRY.collect()]
        common = [metric.name for each in _ABOUT_ONE_PROCESS for metric in each.collect()]
        if set(own) - set(common) and not self._has_warned:
            self._has_warned = True
            logger.warning(
                "Figures that the application makes with prometheus_client are left out of the "
                "page, since they are of one worker only: set %s before the server starts",
                SET_DIRECTORY,
            )
        return []


def forget_gauges(pid: int) -> None:
    """Remove the application's gauges that say what a living worker is doing: this one is dead.

    prometheus_client leaves that to a hook in gunicorn's configuration.
    """
    if os.environ.get(SET_DIRECTORY):
        try:
            mark_process_dead(pid)  # type: ignore[no-untyped-call]
        except OSError:
            log_once("removing the gauges of a worker that has ended")


def _collect_files() -> list[Metric]:
    """Read the files of all workers; one that is just being made cannot be read yet."""
    for left in reversed(range(_TRIES)):
        try:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
            return list(registry.collect())
        except (OSError, ValueError, struct.error):
            if not left:
                raise
    return []
