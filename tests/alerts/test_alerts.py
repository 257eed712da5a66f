"""Alerts: what makes them, whom they tell, and how often."""

from __future__ import annotations

import gc
import queue
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from archive import archive, names_of_owners
from flask import Flask, Response, abort
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import EnvironBuilder
from werkzeug.wsgi import FileWrapper

from flask_perfkit import PerfKit
from flask_perfkit.alerts import (
    P95,
    Alert,
    Condition,
    ErrorRate,
    Findings,
    MemoryGrowth,
    Rule,
    Slot,
)
from flask_perfkit.alerts.monitor import Monitor

MB = 1024 * 1024
SOON = 30


class Told:
    """Whom alerts are told: collects them, as they come from threads."""

    def __init__(self) -> None:
        self._alerts: queue.Queue[Alert] = queue.Queue()

    def __call__(self, alert: Alert) -> None:
        self._alerts.put(alert)

    def next(self) -> Alert:
        return self._alerts.get(timeout=SOON)

    def so_far(self) -> list[str]:
        for thread in threading.enumerate():
            if thread.name == "perfkit-alert":
                thread.join(SOON)
        return [self._alerts.get().message for _ in range(self._alerts.qsize())]


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def watch(told: Told) -> Callable[..., Monitor]:
    def monitor(condition: Condition, cooldown: float | None = None) -> Monitor:
        monitor = Monitor("shop")
        monitor.add(Rule.checked(condition, told, cooldown))
        return monitor

    return monitor


Watch = Callable[..., Monitor]


def test_p95_is_over_when_more_than_one_in_twenty_took_longer(watch: Watch, told: Told) -> None:
    monitor = watch(P95(over=0.5))
    for number in range(100):
        monitor.see_request(0.501 if number >= 95 else 0.5, 200, now=10.0 + 2 * number)
    assert told.so_far() == []
    monitor.see_request(0.501, 200, now=211.0)
    assert told.so_far() == ["p95 is over 0.5 s: 6 of 101 requests took longer in the last 300 s"]


@given(st.lists(st.sampled_from([0.1, 0.4, 0.5, 0.6, 2.0]), min_size=1, max_size=200))
def test_p95_is_the_nearest_rank(durations: list[float]) -> None:
    condition, slot = P95(over=0.5, at_least=1), Slot(0)
    for duration in durations:
        condition.see_request(slot, duration, 200)
    rank = -(-95 * len(durations) // 100)  # rounded up, counted from 1
    percentile = sorted(durations)[rank - 1]
    assert (condition.judge([slot]) is not None) is (percentile > 0.5)


def test_the_error_rate_counts_the_server_s_errors(watch: Watch, told: Told) -> None:
    monitor = watch(ErrorRate(over=0.1, at_least=10))
    for number, status in enumerate([500, 404, 200, 200, 200, 200, 200, 301, 200]):
        monitor.see_request(0.1, status, now=10.0 + number)
    assert told.so_far() == []  # nine are too few
    monitor.see_request(0.1, 200, now=30.0)
    assert told.so_far() == []  # one of ten is not more than a tenth
    monitor.see_request(0.1, 503, now=40.0)
    assert told.so_far() == ["error rate is over 0.1: 2 of 11 requests failed in the last 300 s"]


def test_findings_of_a_kind_are_told_when_their_request_ends(watch: Watch, told: Told) -> None:
    monitor = watch(Findings(kind="n_plus_one", at_least=2))
    monitor.see_request(0.1, 200, now=10.0)
    monitor.see_finding("slow_query", now=10.1)
    monitor.see_finding("n_plus_one", now=10.1)
    monitor.see_finding("n_plus_one", now=10.1)
    assert told.so_far() == []
    monitor.see_request(0.1, 200, now=10.1)
    assert told.so_far() == ["n_plus_one: 2 found in the last 300 s"]


def test_findings_of_any_kind(watch: Watch, told: Told) -> None:
    monitor = watch(Findings(window=60))
    monitor.see_finding("slow_query", now=10.0)
    monitor.see_request(0.1, 200, now=10.0)
    assert told.so_far() == ["findings: 1 found in the last 60 s"]


def test_memory_that_grows_and_stays_is_told(
    watch: Watch, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor = watch(MemoryGrowth(over=45 * MB, window=300))
    memory = 100 * MB
    monkeypatch.setattr("flask_perfkit.alerts.conditions.resident_bytes", lambda: memory)
    for second in range(0, 300, 5):
        memory = (100 + second // 5) * MB  # to 159 MB, a MB each five seconds
        monitor.see_request(0.1, 200, now=float(second))
    # The least of the last 100 s is 140 MB, that of the first 100 s is 100 MB.
    assert told.so_far() == []
    for second in range(300, 400, 5):
        memory = 170 * MB
        monitor.see_request(0.1, 200, now=float(second))
    assert told.so_far() == ["memory grew by 50.0MB to 170.0MB in the last 300 s"]
    # That was at 390 s: the least of 100 to 200 s was 120 MB.


def test_memory_that_comes_and_goes_is_no_growth(
    watch: Watch, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor = watch(MemoryGrowth(over=50 * MB, window=300))
    sizes = [100, 900, 100]
    monkeypatch.setattr(
        "flask_perfkit.alerts.conditions.resident_bytes", lambda: sizes[second % 3] * MB
    )
    for second in range(600):
        monitor.see_request(0.1, 200, now=float(second) * 2)
    assert told.so_far() == []


def test_what_is_older_than_the_window_is_forgotten(watch: Watch, told: Told) -> None:
    monitor = watch(ErrorRate(over=0.5, window=60, at_least=2))
    monitor.see_request(0.1, 500, now=10.0)
    monitor.see_request(0.1, 500, now=10.1)  # judged with the next
    monitor.see_request(0.1, 200, now=75.0)
    monitor.see_request(0.1, 200, now=77.0)
    assert told.so_far() == []


def test_after_an_alert_there_is_silence_for_a_while(watch: Watch, told: Told) -> None:
    monitor = watch(Findings(window=300), cooldown=60)
    for second in range(120):
        monitor.see_finding("slow_query", now=float(second))
        monitor.see_request(0.1, 200, now=float(second))
    assert len(told.so_far()) == 2  # at 0 and at 60 seconds


def test_the_silence_is_the_window_unless_set(watch: Watch, told: Told) -> None:
    monitor = watch(Findings(window=30))
    for second in range(60):
        monitor.see_finding("slow_query", now=float(second))
        monitor.see_request(0.1, 200, now=float(second))
    assert len(told.so_far()) == 2


def test_it_is_judged_at_most_once_a_second(told: Told) -> None:
    looks = []

    class Counting(Condition):
        def judge(self, slots: Any) -> None:
            looks.append(slots)

    monitor = Monitor("shop")
    monitor.add(Rule.checked(Counting(), told, None))
    for number in range(1_000):
        monitor.see_request(0.1, 200, now=10 + number / 100)
    assert len(looks) == 10


def test_memory_stays_bounded(told: Told) -> None:
    monitor = Monitor("shop")
    monitor.add(Rule.checked(P95(over=0.5, window=1), told, None))
    for number in range(10_000):
        monitor.see_request(0.1, 200, now=number / 10)
    (kept,) = monitor._watches
    assert len(kept.slots) <= 30


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: P95(over=0), "over is 0; allowed is a number above zero"),
        (lambda: P95(over="1"), "over is '1'; allowed"),
        (lambda: P95(over=float("nan")), "over is nan; allowed"),
        (lambda: P95(over=1, window=-1), "window is -1; allowed is a number above zero"),
        (lambda: P95(over=1, at_least=0), "at_least is 0; allowed is a whole number above zero"),
        (lambda: ErrorRate(over=5), "over is 5; allowed is a number above zero and below 1"),
        (lambda: Findings(kind="n+1"), "kind is 'n\\+1'; allowed is n_plus_one, "),
        (lambda: Findings(at_least=True), "at_least is True; allowed"),
        (lambda: MemoryGrowth(over=True), "over is True; allowed"),
        (lambda: PerfKit().alert(when=0.5, then=print), "when is 0.5; allowed is a condition"),
        (lambda: PerfKit().alert(when=P95(over=1), then="mail"), "then is 'mail'; allowed is"),
        (
            lambda: PerfKit().alert(when=P95(over=1), then=print, cooldown=0),
            "cooldown is 0; allowed is a number above zero",
        ),
    ],
)
def test_bad_values_are_named(make: Callable[[], object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()


@pytest.fixture
def app() -> Iterator[Flask]:
    with archive(perfkit=False) as app:
        app.add_url_rule("/owners", "owners", lambda: str(names_of_owners()))
        app.add_url_rule("/busy", "busy", lambda: abort(503))
        yield app


@pytest.mark.parametrize("before", [True, False])
def test_a_finding_of_a_request_is_told(app: Flask, told: Told, before: bool) -> None:
    perfkit = PerfKit()
    if not before:
        perfkit.init_app(app)
    perfkit.alert(when=Findings(kind="n_plus_one"), then=told)
    if before:
        perfkit.init_app(app)
    app.test_client().get("/owners")
    alert = told.next()
    assert str(alert) == "archive: n_plus_one: 1 found in the last 300 s"
    assert alert.condition == Findings(kind="n_plus_one")


def test_the_sample_rate_is_that_of_findings_not_of_requests(app: Flask, told: Told) -> None:
    app.config["PERFKIT_SAMPLE_RATE"] = 0.0
    perfkit = PerfKit(app)
    perfkit.alert(when=Findings(), then=told)
    perfkit.alert(when=ErrorRate(over=0.5, at_least=1), then=told)
    app.add_url_rule("/owners/busy", "busy owners", lambda: (str(names_of_owners()), 503))
    app.test_client().get("/owners/busy")
    assert told.so_far() == ["error rate is over 0.5: 1 of 1 requests failed in the last 300 s"]


def test_an_error_that_leaves_the_application_counts(app: Flask, told: Told) -> None:
    app.testing = True
    app.add_url_rule("/fails", "fails", lambda: 1 / 0)
    PerfKit(app).alert(when=ErrorRate(over=0.5, at_least=1), then=told)
    with pytest.raises(ZeroDivisionError):
        app.test_client().get("/fails")
    assert told.next().message.startswith("error rate is over 0.5: 1 of 1 requests failed")


def test_a_status_of_the_application_s_own_making_is_answered(app: Flask, told: Told) -> None:
    app.add_url_rule("/own", "own", lambda: Response("ok", status="odd"))
    PerfKit(app).alert(when=ErrorRate(over=0.5, at_least=1), then=told)
    assert app.test_client().get("/own").text == "ok"
    assert told.so_far() == []


def served(app: Flask, path: str, **environ: Any) -> Any:
    """Return the body as a server gets it."""
    builder = EnvironBuilder(path, environ_overrides={"SERVER_SOFTWARE": "test", **environ})
    return app(builder.get_environ(), lambda *answer: print)  # type: ignore[arg-type, return-value]


def test_a_stream_ends_when_it_is_closed(app: Flask, told: Told) -> None:
    app.add_url_rule("/stream", "stream", lambda: Response(iter("ab"), status=500))
    PerfKit(app).alert(when=ErrorRate(over=0.5, at_least=1), then=told)
    body = served(app, "/stream")
    assert list(body) == [b"a", b"b"]
    assert told.so_far() == []
    body.close()
    assert told.next()


def test_a_file_is_left_to_the_server(app: Flask) -> None:
    app.add_url_rule(
        "/file",
        "file",
        lambda: Response(
            FileWrapper(iter([b"abc"])),
            direct_passthrough=True,  # type: ignore[arg-type]
        ),
    )
    PerfKit(app).alert(when=P95(over=1), then=print)
    body = served(app, "/file", **{"wsgi.file_wrapper": FileWrapper})
    assert isinstance(body, FileWrapper)


def test_each_application_has_its_own_figures(told: Told) -> None:
    perfkit = PerfKit()
    perfkit.alert(when=ErrorRate(over=0.5, at_least=2), then=told)
    with archive(perfkit=False) as one, archive(perfkit=False) as other:
        for app in (one, other):
            app.add_url_rule("/busy", "busy", lambda: abort(503))
            perfkit.init_app(app)
            app.test_client().get("/busy")
    assert told.so_far() == []


def test_who_is_told_may_fail(app: Flask, told: Told, caplog: pytest.LogCaptureFixture) -> None:
    def fail(alert: Alert) -> None:
        told(alert)
        raise LookupError

    PerfKit(app).alert(when=Findings(), then=fail)
    assert app.test_client().get("/owners").status_code == 200
    assert told.next()
    assert told.so_far() == []
    assert "telling of an alert failed and was skipped" in caplog.text


def test_the_extension_keeps_no_application_alive() -> None:
    perfkit = PerfKit()
    app = Flask("gone")
    perfkit.init_app(app)
    perfkit.alert(when=P95(over=1), then=print)
    reference = weakref.ref(app)
    del app
    gc.collect()
    assert reference() is None
