"""Findings are events of the span of their request."""

from __future__ import annotations

from typing import Any

import pytest
from archive import archive, names_of_owners
from opentelemetry.trace import SpanKind
from traced import Spans

from flask_perfkit import Finding, FindingError


def events(spans: Spans) -> list[Any]:
    (server,) = (span for span in spans() if span.kind is SpanKind.SERVER)
    return list(server.events)


def test_a_finding_is_an_event(spans: Spans) -> None:
    found: list[Finding] = []
    with archive(traces=True, on_finding=found.append) as app:
        app.add_url_rule("/owners", view_func=lambda: str(names_of_owners()))
        app.test_client().get("/owners")
    (event,), (finding,) = events(spans), found
    assert event.name == "perfkit.finding"
    assert dict(event.attributes) == {
        "perfkit.finding.kind": "n_plus_one",
        "perfkit.finding.severity": "error",
        "perfkit.finding.subject": "Document.user",
        "perfkit.finding.count": 10,
        "perfkit.finding.duration": finding.duration,
        "perfkit.finding.message": finding.message,
        "perfkit.finding.fix": "joinedload(Document.user)",
        "code.file.path": finding.filename,
        "code.line.number": finding.lineno,
        "code.function.name": "names_of_owners",
        "db.query.text": finding.sql,
    }


def test_findings_that_are_raised_are_events_too(spans: Spans) -> None:
    with archive(traces=True, on_finding="raise", TESTING=True) as app:
        app.add_url_rule("/owners", view_func=lambda: str(names_of_owners()))
        with pytest.raises(FindingError):
            app.test_client().get("/owners")
    assert [event.name for event in events(spans)] == ["perfkit.finding"]


def test_the_sample_rate_is_that_of_findings_not_of_spans(spans: Spans) -> None:
    with archive(traces=True, sample_rate=0.0) as app:
        app.add_url_rule("/owners", view_func=lambda: str(names_of_owners()))
        app.test_client().get("/owners")
    assert len(spans()) == 12
    assert events(spans) == []
