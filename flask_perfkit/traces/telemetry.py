"""Where spans and metrics go: the application's own set-up, or else OTLP."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from opentelemetry import metrics, trace

from flask_perfkit.errors import ExtraMissing

if TYPE_CHECKING:
    from flask import Flask

SCOPE = "flask_perfkit"

_SCHEMA = "https://opentelemetry.io/schemas/1.37.0"

DURATION_BOUNDARIES = (
    *(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5),
    *(0.75, 1.0, 2.5, 5.0, 7.5, 10.0),
)
"""Seconds, as the conventions advise for ``http.server.request.duration``."""

tracer = trace.get_tracer(SCOPE, schema_url=_SCHEMA)
meter = metrics.get_meter(SCOPE, schema_url=_SCHEMA)


def error_type(error: BaseException) -> str:
    """Return what ``error.type`` says of an exception: its class, never its message."""
    kind = type(error)
    if kind.__module__ == "builtins":
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def send_by_otlp(app: Flask) -> None:
    """Send to an OTLP receiver over HTTP, unless the application has set a provider up.

    The variables ``OTEL_*`` say where to, how much and by what name.

    :raises ExtraMissing: the SDK or the exporter is not installed.
    """
    if not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return
    try:
        from flask_perfkit.traces.otlp import send
    except ImportError as error:
        raise ExtraMissing(
            "PERFKIT_TRACES without a tracer provider of your own", "otel"
        ) from error
    send(_missing_names(app))


def _missing_names(app: Flask) -> dict[str, Any]:
    """Return what names this process where the environment does not.

    Without an instance of its own, the metrics of one worker would replace those of another.
    """
    named = os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    names = {}
    if "OTEL_SERVICE_NAME" not in os.environ and "service.name=" not in named:
        names["service.name"] = app.name
    if "service.instance.id=" not in named:
        names["service.instance.id"] = str(uuid4())
    return names
