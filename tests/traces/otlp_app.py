"""An application for gunicorn: ``otlp_app:create_app(own_set_up)``."""

from __future__ import annotations

import os

from archive import archive, names_of_owners
from flask import Flask


def create_app(own_set_up: bool) -> Flask:
    """Make it with traces on; the OpenTelemetry set-up is its own, in the master, or PerfKit's."""
    if own_set_up:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        provider = TracerProvider()
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        trace.set_tracer_provider(provider)
    manager = archive(traces=True)
    app = manager.__enter__()
    app.extensions["archive"] = manager  # it would close the database

    @app.get("/owners")
    def owners() -> dict[str, int]:
        return {"pid": os.getpid(), "owners": len(names_of_owners())}

    return app
