from __future__ import annotations

from typing import Any

import pytest
from hand_made import VIEWS, cause, profile

from flask_perfkit import Finding
from flask_perfkit.config import Settings
from flask_perfkit.detectors.slow_request import detect
from flask_perfkit.recording.profile import Cause, View


def found(*causes: Cause, limit: float | None = 1.0, **facts: Any) -> list[Finding]:
    return detect(profile(*causes, **facts), Settings(slow_request=limit))


def test_a_slow_request_is_found_at_its_view() -> None:
    (finding,) = found(duration=2.5, view=View(VIEWS, 12, "show"))
    assert (finding.kind, finding.severity) == ("slow_request", "warning")
    assert (finding.subject, finding.endpoint, finding.duration) == ("shop.show", "shop.show", 2.5)
    assert (finding.filename, finding.lineno, finding.function) == (VIEWS, 12, "show")
    assert finding.message == (
        "slow_request: shop.show took 2,500 ms (threshold 1,000 ms), 0 ms of it in 0 statements; "
        "profile the view: the time is not spent in the database"
    )


@pytest.mark.parametrize(("duration", "findings"), [(0.999, 0), (1.0, 0), (1.001, 1)])
def test_above_the_threshold_only(duration: float, findings: int) -> None:
    assert len(found(duration=duration)) == findings


def test_it_can_be_turned_off() -> None:
    assert found(duration=100.0, limit=None) == []


def test_a_command_or_block_may_take_its_time() -> None:
    assert found(duration=100.0, status=None) == []


def test_the_statements_that_cost_most_are_named() -> None:
    (finding,) = found(
        cause("SELECT a FROM t", count=3, at=7, duration=0.2),
        cause("SELECT b FROM t", count=40, at=9, duration=1.5, fetch_duration=0.1),
        duration=2.0,
    )
    assert f"begin with the 40 statements at {VIEWS}:9: 1,600 ms" in finding.fix
    assert "1,700 ms of it in 43 statements" in finding.message


def test_a_path_that_matches_no_rule_is_not_shown() -> None:
    (finding,) = found(duration=2.0, endpoint=None, path="/reset/s3cret", status=404)
    assert (finding.subject, finding.filename) == ("a request that matches no rule", None)
    assert "s3cret" not in str(finding.to_dict())


def test_statements_of_a_library_are_said_to_be_so() -> None:
    (finding,) = found(cause("SELECT a FROM t", at=-1, duration=1.9), duration=2.0)
    assert "library code" in finding.fix
