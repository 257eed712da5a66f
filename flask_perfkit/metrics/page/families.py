"""The series, by their names: from totals to what prometheus_client writes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import accumulate
from operator import add

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.samples import Exemplar as Sample
from prometheus_client.utils import floatToGoString

from flask_perfkit.metrics.page.totals import Totals
from flask_perfkit.metrics.store.exemplars import Exemplar, read_exemplar
from flask_perfkit.metrics.store.layout import (
    ASKED,
    CACHE,
    DURATION,
    EXEMPLAR,
    HITS,
    POOL_MOST,
    POOL_OPEN,
    POOL_RETURNED,
    POOL_SIZE,
    POOL_TAKEN,
    RECEIVED,
    REQUEST,
    ROUTE,
    RUNS,
    SENT,
    TIMED,
    TOTAL,
    TRACKED,
    WAIT,
)

_SECONDS = 1e-9
_REQUEST_LABELS = ("method", "route", "status")
_WITHOUT_BODY = {"204", "304"}


def families(totals: Totals) -> Iterator[Metric]:
    """Yield all that was counted, one family after the other."""
    yield from _requests(totals)
    yield from _statements(totals)
    yield from _pools(totals)
    yield from _caches(totals)
    yield from _blocks(totals)
    yield _findings(totals)
    yield from _processes(totals)


def _rows(totals: Totals, kind: str) -> list[tuple[Sequence[str], list[float]]]:
    return sorted((key[1:], cells) for key, cells in totals.rows.items() if key[0] == kind)


def _requests(totals: Totals) -> Iterator[Metric]:
    bounds = totals.layout.request
    number = CounterMetricFamily(
        "http_requests", "Requests that have ended.", labels=_REQUEST_LABELS
    )
    duration = HistogramMetricFamily(
        "http_request_duration_seconds",
        "Time until a response was made; of a stream, until its end.",
        labels=_REQUEST_LABELS,
    )
    failed: defaultdict[tuple[str, ...], float] = defaultdict(float)
    sizes: defaultdict[tuple[str, ...], list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0])
    for labels, cells in _rows(totals, REQUEST):
        method, route, status = labels
        buckets = cells[:EXEMPLAR]
        count = sum(buckets)
        number.add_metric(labels, count)
        failed[method, route] += count if status.startswith("5") else 0
        sent = 0.0 if method == "HEAD" or status in _WITHOUT_BODY else cells[SENT]
        size = [count, cells[RECEIVED], sent]
        sizes[method, route] = list(map(add, sizes[method, route], size))
        if count:
            seconds = cells[DURATION] * _SECONDS
            _add_histogram(duration, labels, bounds, buckets, seconds, read_exemplar(cells))
    yield number
    yield duration
    errors = CounterMetricFamily(
        "http_request_errors",
        "Requests that ended with a 5xx or broke off.",
        labels=("method", "route"),
    )
    for pair, count in failed.items():
        errors.add_metric(pair, count)
    yield errors
    for place, name in ((1, "request"), (2, "response")):
        size_of = SummaryMetricFamily(
            f"http_{name}_size_bytes", f"Size of the {name}'s body.", labels=("method", "route")
        )
        for pair, figures in sizes.items():
            size_of.add_metric(pair, count_value=int(figures[0]), sum_value=figures[place])
        yield size_of
    yield GaugeMetricFamily(
        "http_requests_in_progress", "Requests that have begun and not ended.", totals.in_progress
    )


def _statements(totals: Totals) -> Iterator[Metric]:
    layout = totals.layout
    each = HistogramMetricFamily(
        "db_query_duration_seconds", "Time to execute a statement.", labels=("route",)
    )
    number = HistogramMetricFamily(
        "db_queries_per_request", "Statements of a request.", labels=("route",)
    )
    failed = CounterMetricFamily("db_query_errors", "Statements that failed.", labels=("route",))
    for labels, cells in _rows(totals, ROUTE):
        first, end = layout.first_statement, layout.first_kind - 1
        durations = cells[first:end]
        _add_histogram(each, labels, layout.statement, durations, cells[0] * _SECONDS)
        _add_histogram(number, labels, layout.statements, cells[1:first], sum(durations))
        failed.add_metric(labels, cells[end])
    yield each
    yield number
    yield failed


def _findings(totals: Totals) -> Metric:
    layout = totals.layout
    findings = CounterMetricFamily(
        "perfkit_findings", "Findings of requests that were sampled.", labels=("kind", "route")
    )
    for (route,), cells in _rows(totals, ROUTE):
        for kind, count in zip(layout.kinds, cells[layout.first_kind :], strict=True):
            findings.add_metric((kind, route), count)
    return findings


def _pools(totals: Totals) -> Iterator[Metric]:
    used = sum(map(_used, totals.living))
    opened = sum(max(cells[POOL_OPEN], _used(cells)) for cells in totals.living)
    beyond = sum(max(cells[POOL_OPEN] - cells[POOL_SIZE], 0) for cells in totals.living)
    connections = GaugeMetricFamily(
        "db_pool_connections", "Open connections of the pools.", labels=("state",)
    )
    connections.add_metric(("used",), used)
    connections.add_metric(("idle",), opened - used)
    yield connections
    yield GaugeMetricFamily(
        "db_pool_size",
        "Connections that the pools keep.",
        sum(cells[POOL_SIZE] for cells in totals.living),
    )
    yield GaugeMetricFamily(
        "db_pool_max_connections",
        "Connections that the pools may open, overflow included.",
        sum(cells[POOL_MOST] for cells in totals.living),
    )
    yield GaugeMetricFamily("db_pool_overflow", "Connections beyond the pools' size.", beyond)
    wait = HistogramMetricFamily(
        "db_pool_wait_seconds", "Time to get a connection from a pool.", labels=()
    )
    for labels, cells in _rows(totals, WAIT):
        _add_histogram(wait, labels, totals.layout.wait, cells[1:], cells[0] * _SECONDS)
    yield wait


def _used(process: Sequence[float]) -> float:
    return max(process[POOL_TAKEN] - process[POOL_RETURNED], 0)


def _caches(totals: Totals) -> Iterator[Metric]:
    requests = CounterMetricFamily("cache_requests", "Reads of caches.", labels=("cache",))
    hits = CounterMetricFamily(
        "cache_hits", "Reads of caches that had the value.", labels=("cache",)
    )
    for labels, cells in _rows(totals, CACHE):
        requests.add_metric(labels, cells[ASKED])
        hits.add_metric(labels, cells[HITS])
    yield requests
    yield hits


def _blocks(totals: Totals) -> Iterator[Metric]:
    for kind, name, text in (
        (TIMED, "timer_duration_seconds", "Time of blocks and functions that were timed."),
        (TRACKED, "memory_tracker_growth_bytes", "Memory that blocks and functions kept."),
    ):
        family = SummaryMetricFamily(name, text, labels=("block",))
        for labels, cells in _rows(totals, kind):
            family.add_metric(labels, count_value=int(cells[RUNS]), sum_value=cells[TOTAL])
        yield family


def _processes(totals: Totals) -> Iterator[Metric]:
    usage = totals.usage
    if not usage.processes:
        return
    gauges = (
        ("resident_memory_bytes", "Resident memory of all processes.", usage.resident_memory),
        ("virtual_memory_bytes", "Virtual memory of all processes.", usage.virtual_memory),
        ("threads", "Threads of all processes.", usage.threads),
        ("open_fds", "File descriptors that all processes have open.", usage.open_fds),
        ("max_fds", "File descriptors that all processes may open.", usage.max_fds),
        ("start_time_seconds", "When the oldest process was started.", usage.started),
        ("workers", "Processes that have served a request.", usage.processes),
    )
    for name, text, value in gauges:
        yield GaugeMetricFamily(f"process_{name}", text, value)
    yield CounterMetricFamily(
        "process_cpu_seconds",
        "CPU time of all processes, including those that have ended.",
        usage.cpu + totals.cpu_ended,
    )


def _add_histogram(
    family: HistogramMetricFamily,
    labels: Sequence[str],
    bounds: Sequence[float],
    buckets: Sequence[float],
    total: float,
    exemplar: Exemplar | None = None,
) -> None:
    """Add a series; ``buckets`` are not cumulative, ``total`` is the sum of what was observed."""
    names = [*map(floatToGoString, bounds), "+Inf"]
    cumulative: list[tuple[str, float] | tuple[str, float, Sample]]
    cumulative = list(zip(names, accumulate(buckets), strict=True))
    if exemplar is not None:
        trace = {"trace_id": exemplar.trace_id, "span_id": exemplar.span_id}
        sample = Sample(trace, exemplar.seconds, exemplar.at)
        place = next(
            (n for n, bound in enumerate(bounds) if exemplar.seconds <= bound), len(bounds)
        )
        cumulative[place] = (*cumulative[place][:2], sample)
    family.add_metric(labels, cumulative, total)
