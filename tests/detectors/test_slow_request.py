from __future__ import annotations

from typing import Any

import pytest
from hand_made import VIEWS, cause, profile

from flask_perfkit import Finding
from flask_perfkit.config import Settings
from flask_perfkit.detectors.slow_request import detect
from flask_perfkit.recording.calls import Call
from flask_perfkit.recording.cause import Cause
from flask_perfkit.recording.profile import View


def found(*causes: Cause, limit: float | None = 1.0, **facts: Any) -> list[Finding]:
    return detect(profile(*causes, **facts), Settings(slow_request=limit))


def test_a_slow_request_is_found_at_its_view() -> None:
    (finding,) = found(duration=2.5, view=View(VIEWS, 12, "show"))
    assert (finding.kind, finding.severity) == ("slow_request", "warning")
    assert (finding.subject, finding.endpoint, finding.duration) == ("shop.show", "shop.show", 2.5)
    assert (finding.filename, finding.lineno, finding.function) == (VIEWS, 12, "show")
    assert finding.message == (
        "slow_request: shop.show took 2,500 ms (threshold 1,000 ms), 0 ms of it in 0 statements; "
        "the other 2,500 ms are code of the view, or waiting for what is not watched, such as "
        "another server: time the calls that it makes with timer()"
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
    assert "1,800 ms of it in 43 statements" in finding.message


def test_a_path_that_matches_no_rule_is_not_shown() -> None:
    (finding,) = found(duration=2.0, endpoint=None, path="/reset/s3cret", status=404)
    assert (finding.subject, finding.filename) == ("a request that matches no rule", None)
    assert "s3cret" not in str(finding.to_dict())


def test_statements_of_a_library_are_said_to_be_so() -> None:
    (finding,) = found(cause("SELECT a FROM t", at=-1, duration=1.9), duration=2.0)
    assert "library code" in finding.fix


def test_one_statement_is_one() -> None:
    (finding,) = found(cause("SELECT a FROM t", at=7, duration=1.9), duration=2.0)
    assert "1,900 ms of it in 1 statement; begin with the statement at" in finding.message


def test_the_figures_of_one_sentence_are_of_one_clock() -> None:
    many_rows = cause("SELECT a FROM t", count=12, duration=0.0004, fetch_duration=1.2)
    (finding,) = found(many_rows, duration=2.0)
    assert "1,200 ms of it in 12 statements; begin with the 12 statements" in finding.message
    assert finding.fix.endswith("1,200 ms")


def test_building_objects_is_named_where_there_are_many() -> None:
    few_ms = cause("SELECT a FROM t", count=40, at=9, duration=0.3, rows=90_000)
    (finding,) = found(few_ms, duration=2.0)
    assert finding.fix.startswith(f"begin with the 40 statements at {VIEWS}:9: 300 ms; the other ")
    assert "1,700 ms are code of the view, such as building objects of 90,000 rows" in finding.fix


def test_time_with_redis_is_told_apart() -> None:
    calls = (Call("redis", "GET", VIEWS, 5, "show", count=3, duration=0.5),)
    (finding,) = found(cause("SELECT a FROM t"), duration=2.0, cache_calls=calls)
    assert "in 1 statement, 500 ms in 3 calls of the cache or Redis; " in finding.message
    assert "the other 1,499 ms are code of the view, or waiting" in finding.message
