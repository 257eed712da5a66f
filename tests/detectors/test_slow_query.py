from __future__ import annotations

import pytest
from hand_made import VIEWS, cause, profile

from flask_perfkit import Finding
from flask_perfkit.config import Settings
from flask_perfkit.detectors.slow_query import detect
from flask_perfkit.recording.cause import Cause

SEARCH = "SELECT id FROM documents WHERE title LIKE ?"


def found(*causes: Cause, limit: float | None = 1.0) -> list[Finding]:
    return detect(profile(*causes), Settings(slow_query=limit))


def test_a_slow_statement_is_found() -> None:
    (finding,) = found(cause(SEARCH, count=2, slowest=1.234, duration=1.3))
    assert (finding.kind, finding.severity, finding.count) == ("slow_query", "warning", 2)
    assert (finding.duration, finding.filename, finding.lineno) == (1.234, VIEWS, 41)
    assert finding.message.startswith(
        f"slow_query: {SEARCH} took 1,234 ms (threshold 1,000 ms) at {VIEWS}:41 in show; "
    )


@pytest.mark.parametrize(("slowest", "findings"), [(0.999, 0), (1.0, 0), (1.001, 1)])
def test_above_the_threshold_only(slowest: float, findings: int) -> None:
    assert len(found(cause(SEARCH, slowest=slowest))) == findings


def test_many_quick_ones_are_none() -> None:
    assert found(cause(SEARCH, count=5_000, duration=5.0, slowest=0.001)) == []


def test_it_can_be_turned_off() -> None:
    assert found(cause(SEARCH, slowest=100.0), limit=None) == []


def test_writes_can_be_slow_too() -> None:
    assert len(found(cause("UPDATE documents SET a = ?", slowest=2.0))) == 1


def test_slow_fetching_is_no_slow_execution() -> None:
    assert found(cause(SEARCH, slowest=0.5, fetch_duration=9.0)) == []


def test_a_long_statement_is_cut() -> None:
    wide = "SELECT " + ", ".join(f"column_{number}" for number in range(200)) + " FROM t"
    (finding,) = found(cause(wide, slowest=2.0))
    assert len(finding.message) < 400
    assert "... took" in finding.message
