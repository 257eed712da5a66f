from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator

import pytest
from flask import Flask
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_perfkit.cache.stats import CacheStats, cache_stats


@pytest.fixture
def stats() -> CacheStats:
    return CacheStats()


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.INFO, logger="flask_perfkit"):
        yield caplog


def test_the_report_is_returned_and_logged(
    stats: CacheStats, log: pytest.LogCaptureFixture
) -> None:
    for _ in range(850):
        stats.hit()
    for _ in range(150):
        stats.miss()
    assert stats.report() == "Cache Stats: 850 hits, 150 misses (85.0% hit rate)"
    assert log.messages == ["Cache Stats: 850 hits, 150 misses (85.0% hit rate)"]


def test_a_named_cache_is_reported_alone_and_in_the_sum(stats: CacheStats) -> None:
    stats.hit("pages", 3)
    stats.miss("pages")
    stats.hit()
    assert stats.report("pages") == "Cache Stats [pages]: 3 hits, 1 misses (75.0% hit rate)"
    assert stats.report("default") == "Cache Stats [default]: 1 hits, 0 misses (100.0% hit rate)"
    assert stats.report() == "Cache Stats: 4 hits, 1 misses (80.0% hit rate)"


def test_before_the_first_request(stats: CacheStats) -> None:
    assert stats.report() == "Cache Stats: 0 hits, 0 misses (0.0% hit rate)"
    assert stats.report("pages") == "Cache Stats [pages]: 0 hits, 0 misses (0.0% hit rate)"
    assert stats.snapshot() == {}


def test_the_snapshot_does_not_change_later(stats: CacheStats) -> None:
    stats.hit("pages", n=2)
    stats.miss("counts")
    snapshot = stats.snapshot()
    stats.hit("pages")
    assert snapshot == {"pages": (2, 0), "counts": (0, 1)}
    assert snapshot["pages"].hit_rate == 1.0


def test_reset_forgets_everything(stats: CacheStats) -> None:
    stats.hit("pages")
    stats.reset()
    assert stats.snapshot() == {}


def test_the_hundred_first_cache_counts_as_other(stats: CacheStats) -> None:
    for number in range(1000):
        stats.hit(f"user:{number}")
    stats.hit("user:5")
    snapshot = stats.snapshot()
    assert len(snapshot) == 101
    assert snapshot["user:5"] == (2, 0)
    assert snapshot["other"] == (900, 0)
    assert stats.report("user:100") == "Cache Stats [other]: 900 hits, 0 misses (100.0% hit rate)"
    assert stats.report() == "Cache Stats: 1001 hits, 0 misses (100.0% hit rate)"


def test_a_long_name_is_cut(stats: CacheStats) -> None:
    stats.hit("x" * 64_000)
    assert stats.snapshot() == {"x" * 100: (1, 0)}
    assert stats.report("x" * 64_000).startswith(f"Cache Stats [{'x' * 100}]: 1 hits")


@pytest.mark.parametrize("n", [-1, 1.5, "1", None])
def test_a_bad_count_is_refused_and_not_counted(stats: CacheStats, n: int) -> None:
    with pytest.raises(ValueError, match=r"n is .*; allowed is a whole number from 0"):
        stats.hit("pages", n)
    with pytest.raises(ValueError, match=r"n is .*; allowed is a whole number from 0"):
        stats.miss("pages", n)
    assert stats.snapshot() == {}


def test_a_count_in_the_place_of_the_name_is_refused(stats: CacheStats) -> None:
    with pytest.raises(TypeError, match=r"name is 5; allowed is text \(a count goes in as n=\)"):
        stats.hit(5)  # type: ignore[arg-type]
    stats.hit()  # the lock was given back
    assert stats.snapshot() == {"default": (1, 0)}


def test_a_logging_handler_that_raises_is_not_noticed(
    stats: CacheStats, log: pytest.LogCaptureFixture
) -> None:
    class Raising(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise OSError("the disk is full")

    handler = Raising()
    logging.getLogger("flask_perfkit").addHandler(handler)
    try:
        assert stats.report() == "Cache Stats: 0 hits, 0 misses (0.0% hit rate)"
    finally:
        logging.getLogger("flask_perfkit").removeHandler(handler)


@pytest.fixture
def eager_threads() -> Iterator[None]:
    """Let threads take turns so often that a lost update shows."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("eager_threads")
def test_threads_lose_no_count(stats: CacheStats) -> None:
    def work(number: int) -> None:
        for _ in range(2000):
            stats.hit("pages")
            stats.miss(f"thread {number}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    snapshot = stats.snapshot()
    assert snapshot["pages"] == (16_000, 0)
    assert all(snapshot[f"thread {number}"] == (0, 2000) for number in range(8))


@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(st.integers(0, 200).map(str), st.integers(0, 9), st.integers(0, 9)), max_size=300
    )
)
def test_no_count_is_lost_whatever_the_names(calls: list[tuple[str, int, int]]) -> None:
    stats = CacheStats()
    for name, hits, misses in calls:
        stats.hit(name, hits)
        stats.miss(name, misses)
    counts = stats.snapshot()
    assert len(counts) <= 101
    assert sum(each.hits for each in counts.values()) == sum(hits for _, hits, _ in calls)
    assert sum(each.misses for each in counts.values()) == sum(misses for *_, misses in calls)


def test_the_shared_statistics_belong_to_the_process() -> None:
    cache_stats.reset()
    cache_stats.hit()
    try:
        assert cache_stats.snapshot() == {"default": (1, 0)}
    finally:
        cache_stats.reset()


def test_counts_by_the_route_that_asked(stats: CacheStats) -> None:
    app = Flask("shop")

    @app.get("/books/<int:number>")
    def show(number: int) -> str:
        stats.miss("pages")
        stats.hit("pages", number)
        return ""

    client = app.test_client()
    client.get("/books/2")
    client.get("/books/3")
    stats.hit("pages", 4)
    assert stats.by_route() == {("pages", "/books/<int:number>"): (5, 2), ("pages", None): (4, 0)}
    assert stats.snapshot() == {"pages": (9, 2)}
    stats.reset()
    assert stats.by_route() == {}


def test_the_thousand_first_route_counts_as_other(stats: CacheStats) -> None:
    app = Flask("shop")
    for number in range(1002):
        app.add_url_rule(f"/{number}", f"view{number}", lambda: "")
    for number in range(1002):
        with app.test_request_context(f"/{number}"):
            stats.hit("pages")
    by_route = stats.by_route()
    assert len(by_route) == 1001
    assert by_route["pages", "other"] == (2, 0)
    assert stats.snapshot() == {"pages": (1002, 0)}


def test_a_listener_hears_each_count(stats: CacheStats) -> None:
    heard: list[tuple[str, str | None, int, int]] = []
    stats.hit("pages")
    stats.listen(lambda *count: heard.append(count))
    stats.hit("pages", 2)
    stats.miss("x" * 101)
    app = Flask("shop")
    app.add_url_rule("/books", "books", lambda: "")
    with app.test_request_context("/books"):
        stats.miss()
    assert heard == [
        ("pages", None, 2, 0),
        ("x" * 100, None, 0, 1),
        ("default", "/books", 0, 1),
    ]


def test_a_listener_that_raises_is_logged_and_passed_over(
    stats: CacheStats, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[str] = []

    def fail(*_: object) -> None:
        raise OSError("no metrics today")

    stats.listen(fail)
    stats.listen(lambda name, *_: heard.append(name))
    stats.hit("pages")
    assert (heard, stats.snapshot()) == (["pages"], {"pages": (1, 0)})
    assert "no metrics today" in caplog.text


def test_what_dropped_values_is_counted_within_bounds(stats: CacheStats) -> None:
    stats.drop("pages", "documents")
    stats.drop("pages", "documents")
    for number in range(2000):
        stats.drop("pages", f"table {number}")
    drops = stats.drops()
    assert drops["pages", "documents"] == 2
    assert sum(drops.values()) == 2002
    assert len(drops) <= 1001
    stats.reset()
    assert stats.drops() == {}
