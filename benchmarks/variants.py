"""What is compared: the bare application, PerfKit, and what users could run instead.

Nothing is imported here, so that a worker can measure what an import costs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flask import Flask
    from opentelemetry.sdk.trace import TracerProvider

Install = Callable[["Flask"], str | None]
"""Sets an application up; returns what a reader of the figures must know."""


@dataclass(frozen=True)
class Variant:
    """One way to run the application.

    ``load`` imports what it needs and returns what sets the application up; ``config`` is the
    application's; ``distributions`` are those whose versions belong to its figures.
    """

    name: str
    load: Callable[[], Install]
    config: Mapping[str, Any] = field(default_factory=dict)
    distributions: tuple[str, ...] = ()


def _nothing() -> Install:
    return lambda app: None


def _floor() -> Install:
    from floor import install

    return install


def _perfkit() -> Install:
    from flask_perfkit import PerfKit

    def install(app: Flask) -> None:
        PerfKit(app)

    return install


def _perfkit_shared() -> Install:
    """Count in a file, as each of several workers does; whoever measures names the directory."""
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = os.environ[FIGURES_DIRECTORY]
    return _perfkit()


def _perfkit_stored(kept: bool) -> Install:
    """Have each request kept, or counted only: else it depends on how long it takes."""
    from math import inf

    from flask_perfkit.hooks import storing

    class Always(dict[str, float]):
        def __getitem__(self, key: str) -> float:
            return 0.0 if kept else inf

    make = storing.storing

    def storing_always(recorder: Any, writer: Any) -> Any:
        writer.keep_from = Always()
        return make(recorder, writer)

    storing.storing = storing_always
    return _perfkit()


def _prometheus() -> Install:
    from prometheus_client import CollectorRegistry
    from prometheus_flask_exporter import PrometheusMetrics

    def install(app: Flask) -> None:
        PrometheusMetrics(app, registry=CollectorRegistry())

    return install


def _tracer_provider(sampled: bool) -> TracerProvider:
    """Return a provider that collects spans in batches and sends them nowhere."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import (
        BatchSpanProcessor,
        SpanExporter,
        SpanExportResult,
    )
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

    class Dropping(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:
            return SpanExportResult.SUCCESS

    provider = TracerProvider(sampler=ALWAYS_ON if sampled else ALWAYS_OFF)
    provider.add_span_processor(BatchSpanProcessor(Dropping()))
    return provider


def _perfkit_traces(sampled: bool) -> Install:
    from opentelemetry import trace

    install = _perfkit()
    trace.set_tracer_provider(_tracer_provider(sampled))
    return install


def _opentelemetry(sampled: bool) -> Install:
    from opentelemetry.instrumentation.flask import FlaskInstrumentor
    from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor

    def install(app: Flask) -> str | None:
        from application import db

        provider = _tracer_provider(sampled)
        FlaskInstrumentor().instrument_app(app, tracer_provider=provider)
        with app.app_context():
            engine = db.engine
        instrumentor = SQLAlchemyInstrumentor()
        instrumentor.instrument(engine=engine, tracer_provider=provider)
        if instrumentor.is_instrumented_by_opentelemetry:
            return None
        instrumentor.instrument(engine=engine, tracer_provider=provider, skip_dep_check=True)
        wanted = " ".join(instrumentor.instrumentation_dependencies())
        return f"asks for {wanted}, would see no statement here, and was forced (skip_dep_check)"

    return install


def _sentry(rate: float) -> Install:
    import sentry_sdk
    from sentry_sdk.transport import Transport

    class Dropping(Transport):
        def capture_envelope(self, envelope: Any) -> None:
            pass

    def install(app: Flask) -> None:
        sentry_sdk.init(dsn="http://key@localhost/1", transport=Dropping, traces_sample_rate=rate)

    return install


_OTEL = (
    "opentelemetry-sdk",
    "opentelemetry-instrumentation-flask",
    "opentelemetry-instrumentation-sqlalchemy",
)

_PATIENT = {"PERFKIT_SLOW_REQUEST": 60.0, "PERFKIT_METRICS_PATH": None}
"""Counting opcodes makes a request last longer than the second after which it is reported.

Figures for Prometheus are a variant of their own.
"""

_COUNTED = {**_PATIENT, "PERFKIT_METRICS_PATH": "/metrics"}

_STORED = {**_PATIENT, "PERFKIT_STORAGE_URL": "memory://"}

FIGURES_DIRECTORY = "FIGURES_DIRECTORY"
"""Names, in the environment, where the workers' files of figures lie."""

BARE, PERFKIT = "bare", "PerfKit"

VARIANTS = (
    Variant(BARE, _nothing),
    Variant("bare again", _nothing),
    Variant("floor, by hand", _floor),
    Variant(PERFKIT, _perfkit, _PATIENT),
    Variant("PerfKit, unsampled", _perfkit, {"PERFKIT_SAMPLE_RATE": 0.0, **_PATIENT}),
    Variant("PerfKit, in debug", _perfkit, {"DEBUG": True, **_PATIENT}),
    Variant("PerfKit, auto-batching", _perfkit, {"PERFKIT_AUTO_BATCH": True, **_PATIENT}),
    Variant(
        "PerfKit, traces sampled",
        lambda: _perfkit_traces(True),
        {"PERFKIT_TRACES": True, **_PATIENT},
    ),
    Variant(
        "PerfKit, traces unsampled",
        lambda: _perfkit_traces(False),
        {"PERFKIT_TRACES": True, **_PATIENT},
    ),
    Variant("PerfKit, Prometheus", _perfkit, _COUNTED, distributions=("prometheus-client",)),
    Variant("PerfKit, Prometheus, several workers", _perfkit_shared, _COUNTED),
    Variant("PerfKit, store", lambda: _perfkit_stored(kept=False), _STORED),
    Variant("PerfKit, store keeps all", lambda: _perfkit_stored(kept=True), _STORED),
    Variant("SQLALCHEMY_RECORD_QUERIES", _nothing, {"SQLALCHEMY_RECORD_QUERIES": True}),
    Variant(
        "prometheus-flask-exporter",
        _prometheus,
        distributions=("prometheus-flask-exporter", "prometheus-client"),
    ),
    Variant("OpenTelemetry, sampled", lambda: _opentelemetry(True), distributions=_OTEL),
    Variant("OpenTelemetry, unsampled", lambda: _opentelemetry(False), distributions=_OTEL),
    Variant("sentry-sdk, rate 1.0", lambda: _sentry(1.0), distributions=("sentry-sdk",)),
    Variant("sentry-sdk, rate 0.0", lambda: _sentry(0.0), distributions=("sentry-sdk",)),
)
