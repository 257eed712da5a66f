"""The page: its formats, its place among the application's routes, and what may be missing."""

from __future__ import annotations

import logging
import subprocess
import sys
from typing import Any

import pytest
from archive import archive
from flask import Flask, abort, request
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address
from prometheus_client import REGISTRY, CollectorRegistry, Counter
from prometheus_flask_exporter import PrometheusMetrics

from flask_perfkit import PerfKit
from tests.metrics.scraping import OPENMETRICS, read, scrape


def app_with(**config: Any) -> Flask:
    app = Flask("shop", root_path=".")
    app.config.update({"PERFKIT_METRICS_PATH": "/metrics", **config})
    return app


def test_both_formats_say_the_same() -> None:
    app = app_with()
    PerfKit(app)
    app.add_url_rule("/", "index", lambda: "ok")
    client = app.test_client()
    client.get("/")
    plain = client.get("/metrics")
    modern = client.get("/metrics", headers={"Accept": f"{OPENMETRICS},text/plain;q=0.1"})

    assert modern.content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert modern.text.endswith("# EOF\n")
    assert plain.content_type.startswith("text/plain; version=0.0.4")
    changing = ("process_", "python_gc_", "system_")
    stable = [
        {key: value for key, value in read(page.text).items() if not key.startswith(changing)}
        for page in (plain, modern)
    ]
    assert stable[0] == stable[1]
    assert stable[0]


def test_what_prometheus_sends_by_default_gets_openmetrics() -> None:
    app = app_with()
    PerfKit(app)
    accept = (
        "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;"
        "q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
    )
    response = app.test_client().get("/metrics", headers={"Accept": accept})
    assert response.text.endswith("# EOF\n")


@pytest.mark.parametrize("before", [True, False])
def test_a_route_of_the_application_stands(before: bool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "flask_perfkit")
    app = app_with()
    if before:
        app.add_url_rule("/metrics", "theirs", lambda: "theirs")
    PerfKit(app)
    if not before:
        app.add_url_rule("/metrics", "theirs", lambda: "theirs")
    client = app.test_client()
    assert [client.get("/metrics").text for _ in range(2)] == ["theirs", "theirs"]
    hints = [record for record in caplog.records if "PERFKIT_METRICS_PATH" in record.getMessage()]
    assert len(hints) == 1


def test_the_path_can_be_moved_and_the_page_turned_off() -> None:
    moved, off = (
        app_with(PERFKIT_METRICS_PATH="/internal/figures"),
        app_with(PERFKIT_METRICS_PATH=None),
    )
    PerfKit(moved)
    PerfKit(off)
    assert moved.test_client().get("/internal/figures").status_code == 200
    assert moved.test_client().get("/metrics").status_code == 404
    assert off.test_client().get("/metrics").status_code == 404


def test_the_page_can_be_closed_as_any_view_can() -> None:
    app = app_with()
    PerfKit(app)
    app.before_request(lambda: ("no", 401))
    assert app.test_client().get("/metrics").status_code == 401


@pytest.mark.parametrize(
    ("auth", "status"),
    [
        (lambda: request.headers.get("X-Key") == "open", 200),
        (lambda: request.headers.get("X-Key") == "other", 404),
        (lambda: None, 404),
        (lambda: abort(401), 401),
        (lambda: 1 / 0, 404),
        (lambda: Unawaited(), 404),  # it says nothing
    ],
    ids=["passes", "does not", "says nothing", "aborts", "fails", "awaitable"],
)
def test_who_may_see_the_page(auth: Any, status: int) -> None:
    app = app_with(PERFKIT_METRICS_AUTH=auth)
    PerfKit(app)
    answer = app.test_client().get("/metrics", headers={"X-Key": "open"})
    assert answer.status_code == status
    assert ("http_requests_in_progress" in answer.text) is (status == 200)


class Unawaited:
    def __await__(self) -> Any:
        yield


@pytest.mark.parametrize(("passes", "status"), [(True, 200), (False, 404)])
def test_who_may_see_the_page_can_be_told_by_a_coroutine(passes: bool, status: int) -> None:
    async def auth() -> bool:
        return passes

    app = app_with(PERFKIT_METRICS_AUTH=auth)
    PerfKit(app)
    assert app.test_client().get("/metrics").status_code == status


def test_a_check_that_fails_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    def auth() -> bool:
        raise LookupError("no users")

    app = app_with(PERFKIT_METRICS_AUTH=auth)
    PerfKit(app)
    client = app.test_client()
    assert [client.get("/metrics").status_code for _ in range(2)] == [404, 404]
    assert sum("PERFKIT_METRICS_AUTH" in line for line in caplog.messages) == 1


@pytest.mark.parametrize("host", ["localhost", "tenant.example.org:8080", "127.0.0.1:5000"])
def test_the_page_is_at_every_host(host: str) -> None:
    app = Flask("hosts", root_path=".", host_matching=True, static_host="static.example.org")
    app.config["PERFKIT_METRICS_PATH"] = "/metrics"
    PerfKit(app)
    app.add_url_rule("/", "index", lambda: "ok", host="tenant.example.org:8080")
    client = app.test_client()
    client.get("/", base_url="http://tenant.example.org:8080")
    answer = client.get("/metrics", base_url=f"http://{host}")
    assert answer.status_code == 200
    assert read(answer.text).of("http_requests_total", method="GET", route="/", status="200") == 1


@pytest.mark.parametrize("first", [True, False])
def test_a_rate_limiter_leaves_the_page_alone(first: bool) -> None:
    app = app_with(RATELIMIT_STORAGE_URI="memory://", RATELIMIT_DEFAULT="2 per hour")
    limiter = Limiter(get_remote_address)
    if first:
        limiter.init_app(app)
    PerfKit(app)
    if not first:
        limiter.init_app(app)
    app.add_url_rule("/", "index", lambda: "ok")
    client = app.test_client()
    assert {client.get("/metrics").status_code for _ in range(5)} == {200}
    assert [client.get("/").status_code for _ in range(3)] == [200, 200, 429]


@pytest.mark.parametrize("first", [True, False])
def test_beside_another_exporter_it_steps_back_and_says_so(
    first: bool, caplog: pytest.LogCaptureFixture
) -> None:
    app = app_with()
    exporter = PrometheusMetrics(app=None, registry=CollectorRegistry())
    if first:
        exporter.init_app(app)
    PerfKit(app)
    if not first:
        exporter.init_app(app)
    page = app.test_client().get("/metrics").text
    assert "flask_exporter_info" in page or "flask_http_request" in page
    assert "http_requests_in_progress" not in page
    (said,) = [each for each in caplog.records if "PERFKIT_METRICS_PATH" in each.getMessage()]
    assert said.levelname == "WARNING"
    assert "prometheus_metrics" in said.getMessage()


def test_only_reading_is_offered() -> None:
    app = app_with()
    PerfKit(app)
    assert app.test_client().post("/metrics").status_code == 405


def test_the_page_is_never_reported(caplog: pytest.LogCaptureFixture) -> None:
    with archive(metrics_path="/metrics", slow_request=1e-9) as app:
        scrape(app)
    assert "slow_request" not in caplog.text


WITHOUT_CLIENT = """
import sys
sys.modules["prometheus_client"] = None
from importlib import util
find_spec = util.find_spec
util.find_spec = lambda name, *rest: None if name == "prometheus_client" else find_spec(name, *rest)
from flask import Flask
from flask_perfkit import ExtraMissing, PerfKit
app = Flask("shop", root_path=".")
PerfKit(app)
assert app.test_client().get("/metrics").status_code == 404
app = Flask("shop", root_path=".")
app.config["PERFKIT_METRICS_PATH"] = "/metrics"
try:
    PerfKit(app)
except ExtraMissing as error:
    print(error)
"""


def test_without_prometheus_client_it_is_off_and_asking_for_it_names_the_extra() -> None:
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_CLIENT], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    assert "flask-perfkit[prometheus]" in result.stdout


def test_nothing_of_it_is_loaded_where_it_is_off() -> None:
    code = """
import sys
from flask import Flask
from flask_perfkit import PerfKit
app = Flask("shop", root_path=".")
PerfKit(app)
assert app.config["PERFKIT_METRICS_PATH"] is None
app.test_client().get("/")
assert app.test_client().get("/metrics").status_code == 404
assert not [name for name in sys.modules if "prometheus" in name or ".metrics" in name]
"""
    subprocess.run([sys.executable, "-c", code], timeout=60, check=True)


def test_a_source_that_fails_is_left_out_and_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> Any:
        raise RuntimeError("no accounts")

    monkeypatch.setattr("flask_perfkit.metrics.page.host.get_system_metrics", broken)
    app = app_with()
    PerfKit(app)
    for _ in range(2):
        assert "system_cpu_seconds_total" not in scrape(app).names()
    assert caplog.text.count("RuntimeError: no accounts") <= 2  # the line and its traceback


def test_figures_of_the_application_itself_are_on_the_page() -> None:
    counter = Counter("documents_archived", "Documents that were archived.", ["kind"])
    try:
        counter.labels("pdf").inc(3)
        app = app_with()
        PerfKit(app)
        seen = scrape(app)
        assert seen.of("documents_archived_total", kind="pdf") == 3
        assert "python_info" in seen.names()
    finally:
        REGISTRY.unregister(counter)
