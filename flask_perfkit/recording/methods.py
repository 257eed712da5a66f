"""Which methods of HTTP are told apart: a client can make up any other."""

from __future__ import annotations

METHODS = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"}
)
OTHER_METHOD = "_OTHER"
"""What all others are called, as the conventions of OpenTelemetry have it."""
