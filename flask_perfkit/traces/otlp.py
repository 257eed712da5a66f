"""Sends to an OTLP receiver over HTTP, and stays quiet while nobody receives.

OpenTelemetry's own exporters try again for seconds, tell of each try, and have a process that
ends wait for the last one: good for a collector that is restarted, a nuisance where there is none.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    MetricExportResult,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult

logger = logging.getLogger("flask_perfkit")

_DEFAULT = "http://localhost:4318"
_PORTS = {"http": 80, "https": 443}
_PATIENCE = 1.0  # seconds

_missed: set[tuple[str, int]] = set()
"""Where nobody listened when something was last to be sent."""


class _Receiver:
    """Where a signal is sent to, as the environment says."""

    def __init__(self, signal: str) -> None:
        own = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
        url = urlsplit(own or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or _DEFAULT)
        self._host = url.hostname or "localhost"
        self._port = url.port or _PORTS.get(url.scheme, 80)
        self._is_behind_proxy = url.scheme in getproxies() and not proxy_bypass(self._host)

    def listens(self) -> bool:
        """Tell whether somebody is there; what cannot be told is left to the exporter."""
        if self._is_behind_proxy:
            return True
        place = self._host, self._port
        try:
            socket.create_connection(place, _PATIENCE).close()
        except TimeoutError:
            return True
        except OSError as error:
            if place not in _missed:
                _missed.add(place)
                logger.warning(
                    "PERFKIT_TRACES: no collector at %s:%s (%s), so spans and metrics are dropped "
                    "until there is one; OTEL_EXPORTER_OTLP_ENDPOINT says where they are sent",
                    *place,
                    error.strerror or error,
                )
            return False
        _missed.discard(place)
        return True


class _SpanExporter(OTLPSpanExporter):
    """Sends spans where somebody listens."""

    def __init__(self) -> None:
        super().__init__()
        self._receiver = _Receiver("TRACES")

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if not self._receiver.listens():
            return SpanExportResult.FAILURE
        return super().export(spans)


class _MetricExporter(OTLPMetricExporter):
    """Sends metrics where somebody listens."""

    def __init__(self) -> None:
        super().__init__()
        self._receiver = _Receiver("METRICS")

    def export(
        self, metrics_data: MetricsData, timeout_millis: float | None = 10_000, **kwargs: Any
    ) -> MetricExportResult:
        if not self._receiver.listens():
            return MetricExportResult.FAILURE
        return super().export(metrics_data, timeout_millis, **kwargs)


def send(names: dict[str, Any]) -> None:
    """Set OpenTelemetry up to send this process's spans and metrics.

    :param names: attributes of the resource that the environment does not give.
    """
    resource = Resource.create(names)
    if os.environ.get("OTEL_TRACES_EXPORTER") != "none":
        spans = TracerProvider(resource=resource)
        spans.add_span_processor(BatchSpanProcessor(_SpanExporter()))
        trace.set_tracer_provider(spans)
    if os.environ.get("OTEL_METRICS_EXPORTER") != "none":
        reader = PeriodicExportingMetricReader(_MetricExporter())
        metrics.set_meter_provider(MeterProvider([reader], resource=resource))
