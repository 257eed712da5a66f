"""Findings as events of the span of their request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import trace

from flask_perfkit.recording.findings import Finding
from flask_perfkit.recording.profile import Profile
from flask_perfkit.sinks import Sink
from flask_perfkit.traces.foreign import has_flask_instrumentation

if TYPE_CHECKING:
    from flask import Flask

_EVENT = "perfkit.finding"
_LONGEST_TEXT = 4_000


def add_findings(app: Flask) -> Sink:
    """Return the sink for when a request is over."""

    def add(profile: Profile) -> None:
        if not has_flask_instrumentation(app):
            _add_all(profile)

    return add


def early_sinks(app: Flask) -> tuple[Sink, ...]:
    """Return the sink for before a response leaves: a foreign span does not last longer."""
    return (_add_all,) if has_flask_instrumentation(app) else ()


def _add_all(profile: Profile) -> None:
    """Add the findings of a profile to the span that is current, if it records."""
    span = trace.get_current_span()
    if span.is_recording():
        for finding in profile.findings:
            _add(span, finding)


def _add(span: trace.Span, finding: Finding) -> None:
    """Add one finding: the only place that knows how an event is made."""
    span.add_event(_EVENT, _attributes(finding))


def _attributes(finding: Finding) -> dict[str, Any]:
    attributes = {
        "perfkit.finding.kind": finding.kind,
        "perfkit.finding.severity": finding.severity,
        "perfkit.finding.subject": finding.subject,
        "perfkit.finding.count": finding.count,
        "perfkit.finding.duration": finding.duration,
        "perfkit.finding.message": finding.message[:_LONGEST_TEXT],
        "perfkit.finding.fix": finding.fix[:_LONGEST_TEXT],
        "code.file.path": finding.filename,
        "code.line.number": finding.lineno,
        "code.function.name": finding.function,
        "db.query.text": finding.sql,
    }
    return {name: value for name, value in attributes.items() if value is not None}
