"""OpenTelemetry's own SDK with exporters in memory: a process can have one set-up only."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest
from archive import archive
from flask import Flask
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from traced import Points, Spans

# The official instrumentations want SQLAlchemy 2.0; tox installs them where that is.
collect_ignore = [] if find_spec("opentelemetry.instrumentation") else ["test_traces_official.py"]


@pytest.fixture(scope="session")
def exporter() -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@pytest.fixture(scope="session")
def reader() -> InMemoryMetricReader:
    reader = InMemoryMetricReader()
    metrics.set_meter_provider(MeterProvider([reader]))
    return reader


@pytest.fixture
def spans(exporter: InMemorySpanExporter) -> Spans:
    """Return the spans that have ended since the test began, in the order in which they began."""
    exporter.clear()

    def ended() -> list[ReadableSpan]:
        return sorted(exporter.get_finished_spans(), key=lambda span: span.start_time or 0)

    return ended


@pytest.fixture
def points(reader: InMemoryMetricReader) -> Points:
    """Return the data points of a metric, those of other tests included."""

    def of(name: str) -> list[Any]:
        data = reader.get_metrics_data()  # None as long as nothing was measured
        return [
            point
            for resource in (data.resource_metrics if data is not None else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]

    return of


@pytest.fixture
def app(spans: Spans) -> Iterator[Flask]:
    with archive(traces=True) as app:
        yield app
