"""The official instrumentations: what they have done already is not done again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flask import Flask


def has_flask_instrumentation(app: Flask) -> bool:
    """Tell whether ``opentelemetry-instrumentation-flask`` makes the spans of this application.

    Asked again for each request, because it may be set up after us and taken away again.
    """
    return getattr(app, "_is_instrumented_by_opentelemetry", False)


def has_statement_span(context: Any) -> bool:
    """Tell whether ``opentelemetry-instrumentation-sqlalchemy`` made a span of this execution."""
    return getattr(context, "_otel_span", None) is not None
