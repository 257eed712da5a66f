"""OpenTelemetry: spans and metrics of requests and statements, findings as events.

Imported only where ``PERFKIT_TRACES`` is on.
"""
