"""Histograms add up, and their quantiles are wrong by no more than they say."""

from __future__ import annotations

from itertools import pairwise
from math import floor

from hypothesis import given
from hypothesis import strategies as st

from flask_perfkit.store.histogram import RELATIVE_ERROR, SHORTEST, Histogram

seconds = st.floats(min_value=SHORTEST, max_value=86_400)
some_seconds = st.lists(seconds, min_size=1, max_size=50)


def histogram(durations: list[float]) -> Histogram:
    made = Histogram()
    for duration in durations:
        made.add(duration)
    return made


@given(some_seconds, st.floats(min_value=0, max_value=1))
def test_a_quantile_is_near_the_exact_one(durations: list[float], share: float) -> None:
    exact = sorted(durations)[floor(share * (len(durations) - 1))]
    found = histogram(durations).quantile(share)
    assert found is not None
    assert abs(found - exact) <= exact * RELATIVE_ERROR * 1.000_001


@given(some_seconds, some_seconds)
def test_two_add_up_to_that_of_all(one: list[float], other: list[float]) -> None:
    merged = histogram(one)
    merged.merge(histogram(other))
    assert merged == histogram(one + other)


@given(some_seconds, st.integers(min_value=1, max_value=60))
def test_bars_leave_nothing_out(durations: list[float], most: int) -> None:
    bars = histogram(durations).bars(most)
    assert len(bars) <= most
    assert sum(bar.count for bar in bars) == len(durations)
    assert all(one.high == other.low for one, other in pairwise(bars))
    assert bars[0].low <= min(durations) <= bars[0].high * 1.000_001


def test_what_nobody_counted_has_no_quantile() -> None:
    assert Histogram().quantile(0.5) is None
    assert Histogram().bars() == []


def test_counts_that_were_scaled_up_have_quantiles() -> None:
    scaled = Histogram()
    for duration in (0.01, 0.1, 1.0):
        scaled.add(duration, 1 / 0.3)
    assert [round(each, 1) for each in scaled.quantiles((0.0, 0.5, 1.0))] == [0.0, 0.1, 1.0]
