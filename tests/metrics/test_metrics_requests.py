"""What one process counts of its requests, exactly."""

from __future__ import annotations

import io
import random
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from archive import User, archive, db, names_of_owners
from flask import Flask, Response, abort, jsonify, send_file, stream_with_context
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import Client, create_environ, run_wsgi_app

from flask_perfkit import PerfKit, QueryCounter, cache_stats, memory_tracker, timer
from tests.metrics.scraping import OPENMETRICS, read, scrape

ALL_STATUSES = {"method": "GET", "route": "/"}


def add(app: Flask, path: str, view: Callable[..., Any], **options: Any) -> None:
    app.add_url_rule(path, path, view, **options)


@pytest.fixture
def app() -> Iterator[Flask]:
    with archive(metrics_path="/metrics") as app:
        add(app, "/", lambda: "ok")
        yield app


def test_requests_are_counted_by_method_route_and_status(app: Flask) -> None:
    add(app, "/users/<int:number>", lambda number: abort(404) if number > 1 else "one")
    client = app.test_client()
    for path in ("/users/1", "/users/2", "/users/3", "/"):
        client.get(path)
    client.head("/")

    seen = scrape(app)

    users = {"method": "GET", "route": "/users/<int:number>"}
    assert seen.of("http_requests_total", **users, status="200") == 1
    assert seen.of("http_requests_total", **users, status="404") == 2
    assert seen.of("http_requests_total", **ALL_STATUSES, status="200") == 1
    assert seen.of("http_requests_total", method="HEAD", route="/", status="200") == 1
    assert seen.sum("http_requests_total") == 5


def test_series_begin_at_zero_with_the_first_request_of_a_route(app: Flask) -> None:
    app.test_client().get("/")

    seen = scrape(app)

    for key in (
        'http_requests_total{method="GET",route="/",status="500"}',
        'http_request_errors_total{method="GET",route="/"}',
        'perfkit_findings_total{kind="n_plus_one",route="/"}',
        'db_query_duration_seconds_count{route="/"}',
        'db_query_errors_total{route="/"}',
    ):
        assert seen[key] == 0, key


def test_durations_lie_in_buckets_of_which_one_is_a_second(app: Flask) -> None:
    app.test_client().get("/")
    seen = scrape(app)
    labels = {**ALL_STATUSES, "status": "200"}
    assert seen.of("http_request_duration_seconds_bucket", **labels, le="1.0") == 1
    assert seen.of("http_request_duration_seconds_bucket", **labels, le="+Inf") == 1
    assert seen.of("http_request_duration_seconds_count", **labels) == 1
    assert 0 < seen.of("http_request_duration_seconds_sum", **labels) < 1


def test_buckets_can_be_set() -> None:
    with archive(metrics_path="/metrics", metrics_buckets=(0.2, 3)) as other:
        add(other, "/", lambda: "ok")
        other.test_client().get("/")
        keys = {key for key in scrape(other) if "duration_seconds_bucket" in key and "http" in key}
    bounds = {key.partition('le="')[2].partition('"')[0] for key in keys}
    assert bounds == {"0.2", "1.0", "3.0", "+Inf"}


def test_two_applications_must_agree_on_buckets(app: Flask) -> None:
    with pytest.raises(ValueError, match="PERFKIT_METRICS_BUCKETS"):
        PerfKit(_plain_app(PERFKIT_METRICS_BUCKETS=(1.0, 2.0)))


def _plain_app(**config: Any) -> Flask:
    app = Flask("plain", root_path=".")
    app.config.update({"PERFKIT_METRICS_PATH": "/metrics", **config})
    return app


def test_statements_are_counted_however_the_request_ends(app: Flask) -> None:
    def three() -> str:
        for number in range(3):
            db.session.execute(sa.select(User.name).where(User.id == number)).all()
        return "ok"

    def failing() -> str:
        three()
        raise ValueError

    add(app, "/three", three)
    add(app, "/failing", failing)
    client = app.test_client()
    client.get("/three")
    client.get("/three")
    client.get("/failing")
    client.get("/")

    seen = scrape(app)

    assert seen.of("db_query_duration_seconds_count", route="/three") == 6
    assert seen.of("db_query_duration_seconds_bucket", route="/three", le="5.0") == 6
    assert seen.of("db_queries_per_request_sum", route="/three") == 6
    assert seen.of("db_queries_per_request_count", route="/three") == 2
    assert seen.of("db_queries_per_request_bucket", route="/three", le="2.0") == 0
    assert seen.of("db_queries_per_request_bucket", route="/three", le="5.0") == 2
    assert seen.of("db_query_duration_seconds_count", route="/failing") == 3
    assert seen.of("http_request_errors_total", method="GET", route="/failing") == 1
    assert seen.of("db_queries_per_request_bucket", route="/", le="0.0") == 1


def test_statements_of_a_block_and_beyond_a_thousand_are_counted(app: Flask) -> None:
    def many() -> str:
        statement = sa.select(User.name).where(User.id == 1)
        with QueryCounter(threshold=None) as counter:
            for _ in range(1_200):
                db.session.execute(statement).all()
        for _ in range(1_100):
            db.session.execute(statement).all()
        assert counter.count == 1_200
        return "ok"

    add(app, "/many", many)
    app.test_client().get("/many")

    seen = scrape(app)

    assert seen.of("db_query_duration_seconds_count", route="/many") == 2_300
    assert seen.of("db_queries_per_request_sum", route="/many") == 2_300
    assert seen.of("db_query_duration_seconds_sum", route="/many") > 0


def test_a_failing_statement_is_counted(app: Flask) -> None:
    def broken() -> str:
        with pytest.raises(sa.exc.OperationalError):
            db.session.execute(sa.text("SELECT nothing FROM nowhere"))
        return "ok"

    add(app, "/broken", broken)
    app.test_client().get("/broken")
    assert scrape(app).of("db_query_errors_total", route="/broken") == 1


@pytest.mark.parametrize("rate", [0.0, 0.5, 1.0])
def test_figures_are_exact_at_any_sample_rate(rate: float) -> None:
    with archive(metrics_path="/metrics", sample_rate=rate, on_finding="ignore") as app:
        add(app, "/", lambda: "ok")
        add(app, "/users", names_of_owners)
        add(app, "/stream", lambda: Response(iter([b"a", b"bc"])))
        client = app.test_client()
        for _ in range(20):
            client.get("/")
            client.get("/users")
            assert client.get("/stream").data == b"abc"
        seen = scrape(app)
    assert seen.sum("http_requests_total") == 60
    assert seen.of("db_query_duration_seconds_count", route="/users") == 20 * 11
    assert seen.of("http_response_size_bytes_sum", method="GET", route="/stream") == 60
    assert seen.of("http_requests_in_progress") == 0


def test_excluded_endpoints_are_counted_too() -> None:
    with archive(metrics_path="/metrics", exclude=("health",)) as app:
        app.add_url_rule("/health", "health", lambda: "ok")
        app.test_client().get("/health")
        assert scrape(app).sum("http_requests_total") == 1


def test_findings_are_counted_by_kind_and_route(app: Flask) -> None:
    add(app, "/users", names_of_owners)
    client = app.test_client()
    client.get("/users")
    client.get("/users")
    seen = scrape(app)
    assert seen.of("perfkit_findings_total", kind="n_plus_one", route="/users") == 2
    assert seen.of("perfkit_findings_total", kind="n_plus_one", route="/") == 0


def test_streams_are_timed_and_measured_to_their_end(app: Flask) -> None:
    waiting = threading.Event()

    def chunks() -> Iterator[bytes]:
        yield b"first"
        waiting.wait(20)
        db.session.execute(sa.select(User.name).where(User.id == 1)).all()
        yield b"last"

    add(app, "/stream", lambda: Response(stream_with_context(chunks())))
    response = app.test_client().get("/stream", buffered=False)
    body = response.iter_encoded()
    assert next(body) == b"first"
    before = scrape(app)
    waiting.set()
    assert list(body) == [b"last"]
    response.close()
    after = scrape(app)

    labels = {"method": "GET", "route": "/stream"}
    assert before.of("http_requests_total", **labels, status="200") == 0
    assert before.of("http_requests_in_progress") == 1
    assert after.of("http_requests_total", **labels, status="200") == 1
    assert after.of("http_requests_in_progress") == 0
    assert after.of("http_response_size_bytes_sum", **labels) == 9
    assert after.of("db_query_duration_seconds_count", route="/stream") == 1


def test_a_stream_that_breaks_is_an_error(app: Flask) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"first"
        raise OSError("the disk is gone")

    add(app, "/stream", lambda: Response(chunks()))
    with pytest.raises(OSError, match="the disk is gone"):
        _ = app.test_client().get("/stream").data
    seen = scrape(app)
    assert seen.of("http_requests_total", method="GET", route="/stream", status="500") == 1
    assert seen.of("http_request_errors_total", method="GET", route="/stream") == 1


def test_an_error_that_is_passed_on_is_counted(app: Flask) -> None:
    app.testing = True
    add(app, "/broken", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        app.test_client().get("/broken")
    seen = scrape(app)
    assert seen.of("http_requests_total", method="GET", route="/broken", status="500") == 1
    assert seen.of("http_requests_in_progress") == 0


def test_sizes_of_bodies(app: Flask) -> None:
    add(app, "/twice", lambda: jsonify("x" * 97), methods=["POST"])
    add(app, "/file", lambda: send_file(io.BytesIO(b"y" * 50), "text/plain"))
    client = app.test_client()
    client.post("/twice", data=b"z" * 30)
    client.post("/twice", headers={"Content-Length": "many"})
    client.head("/")
    assert client.get("/file").data == b"y" * 50

    seen = scrape(app)

    twice = {"method": "POST", "route": "/twice"}
    assert seen.of("http_request_size_bytes_sum", **twice) == 30
    assert seen.of("http_response_size_bytes_sum", **twice) == 2 * 100  # quotes and line end
    assert seen.of("http_response_size_bytes_count", **twice) == 2
    assert seen.of("http_response_size_bytes_sum", method="HEAD", route="/") == 0
    assert seen.of("http_response_size_bytes_sum", method="GET", route="/file") == 50


@pytest.mark.slow
def test_what_nobody_routes_adds_no_series(app: Flask) -> None:
    environ = create_environ("/")

    def ask(path: str, **overrides: str) -> None:
        body, _, _ = run_wsgi_app(app, environ | {"PATH_INFO": path} | overrides)
        assert list(body)

    ask("/no/such/page")
    ask("/", REQUEST_METHOD="BREW")
    ask("/", SCRIPT_NAME=f"/{'y' * 200}")
    before = set(scrape(app))

    for number in range(10_000):
        ask(f"/{random.randbytes(8).hex()}/{'x' * (number % 900)}")
    for number in range(500):
        ask("/", REQUEST_METHOD=f"M{number}")
    for number in range(100):
        ask("/", SCRIPT_NAME=f"/{number}{'y' * 200}")
    after = scrape(app)

    assert set(after) == before
    assert after.of("http_requests_total", method="GET", route="unmatched", status="404") == 10_001
    assert after.of("http_requests_total", method="_OTHER", route="unmatched", status="405") == 501
    assert after.of("http_requests_total", method="GET", route="_OTHER", status="200") == 101


def test_made_up_prefixes_add_few_series(app: Flask) -> None:
    client = app.test_client()
    for number in range(100):
        client.get("/", environ_overrides={"SCRIPT_NAME": f"/{number}"})
    seen = scrape(app)
    routes = {key for key in seen if key.startswith("http_requests_total")}
    assert len(routes) <= 2 * 21  # each with its errors
    assert seen.sum("http_requests_total") == 100


def test_a_route_is_under_the_prefix_that_it_is_mounted_at(app: Flask) -> None:
    add(app, "/users", names_of_owners)
    mounted = Client(DispatcherMiddleware(Flask("outside"), {"/api": app}))
    mounted.get("/api/users")
    seen = scrape(app)
    labels = {"method": "GET", "route": "/api/users", "status": "200"}
    assert seen.of("http_requests_total", **labels) == 1
    assert seen.of("perfkit_findings_total", kind="n_plus_one", route="/api/users") == 1


def test_what_another_application_below_answers_is_not_counted() -> None:
    with archive(metrics_path="/metrics") as inner:
        add(inner, "/", lambda: "inner")
        outer = _plain_app()
        outer.wsgi_app = DispatcherMiddleware(outer.wsgi_app, {"/in": inner})  # type: ignore[method-assign]
        PerfKit(outer)
        assert outer.test_client().get("/in/").text == "inner"
        seen = scrape(inner)
    assert seen.of("http_requests_total", method="GET", route="/in/", status="200") == 1
    assert seen.sum("http_requests_total") == 1
    assert seen.of("http_requests_in_progress") == 0


def test_two_applications_share_one_page(app: Flask) -> None:
    with archive(metrics_path="/metrics") as other:
        add(other, "/other", lambda: "ok")
        other.test_client().get("/other")
        app.test_client().get("/")
        for each in (app, other):
            seen = scrape(each)
            assert seen.of("http_requests_total", method="GET", route="/", status="200") == 1
            assert seen.of("http_requests_total", method="GET", route="/other", status="200") == 1


def test_threads_lose_no_count(app: Flask) -> None:
    add(app, "/users", names_of_owners)

    def ask() -> None:
        client = app.test_client()
        for _ in range(50):
            client.get("/")
            client.get("/no/such/page")

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    seen = scrape(app)
    assert seen.of("http_requests_total", method="GET", route="/", status="200") == 200
    assert seen.of("http_requests_total", method="GET", route="unmatched", status="404") == 200
    assert seen.of("http_requests_in_progress") == 0


def test_a_trace_stands_beside_the_duration(app: Flask) -> None:
    trace, span = "0123456789abcdef" * 2, "fedcba9876543210"
    client = app.test_client()
    client.get("/", headers={"traceparent": f"00-{trace}-{span}-01"})
    client.get("/", headers={"traceparent": f"00-{'9' * 32}-{span}-00"})  # nobody records it
    client.get("/", headers={"traceparent": "99-nonsense\\"})

    text = client.get("/metrics", headers={"Accept": OPENMETRICS}).text

    (line,) = [line for line in text.splitlines() if " # {" in line]
    assert f'trace_id="{trace}"' in line
    assert f'span_id="{span}"' in line
    assert 'route="/"' in line
    read(text)


def test_caches_are_counted(app: Flask) -> None:
    cache_stats.hit("pages", 3)
    cache_stats.miss("pages")
    cache_stats.miss("users")
    app.test_client().get("/")
    cache_stats.hit("pages")

    seen = scrape(app)

    assert seen.of("cache_requests_total", cache="pages") == 5
    assert seen.of("cache_hits_total", cache="pages") == 4
    assert seen.of("cache_requests_total", cache="users") == 1
    assert seen["cache_hits_total" + '{cache="users"}'] == 0


def test_measured_blocks_are_counted(app: Flask) -> None:
    durations = []
    with timer("import") as first:
        pass
    with timer("import") as second:
        pass
    durations += [first.duration, second.duration]
    with memory_tracker("load") as load:
        kept = bytearray(30_000_000)
    del kept
    for number in range(300):
        with timer(f"document {number}"):
            pass

    seen = scrape(app)

    assert seen.of("timer_duration_seconds_count", block="import") == 2
    assert seen.of("timer_duration_seconds_sum", block="import") == pytest.approx(sum(durations))
    assert seen.of("memory_tracker_growth_bytes_count", block="load") == 1
    grown = seen.of("memory_tracker_growth_bytes_sum", block="load")
    assert grown == pytest.approx(load.delta * 1024 * 1024)
    assert grown > 20_000_000
    # 200 names, the two above among them, and one for all others
    assert seen.of("timer_duration_seconds_count", block="_OTHER") == 300 - 198
    assert seen.sum("timer_duration_seconds_count") == 302


def test_the_page_does_not_count_itself(app: Flask) -> None:
    scrape(app)
    seen = scrape(app)
    assert seen.sum("http_requests_total") == 0
    assert seen.of("http_requests_in_progress") == 0


def test_process_and_system_figures(app: Flask) -> None:
    seen = scrape(app)
    assert 10e6 < seen.of("process_resident_memory_bytes") < 10e9
    assert seen.of("process_cpu_seconds_total") > 0
    assert seen.of("process_open_fds") > 2
    assert seen.of("process_start_time_seconds") > 1.5e9
    assert seen.of("system_memory_bytes") > 10e6
    assert seen.of("system_cpu_seconds_total", mode="user") > 0


def test_names_are_those_that_dashboards_ask_for(app: Flask) -> None:
    add(app, "/users", names_of_owners)
    app.test_client().get("/users")
    cache_stats.hit()
    names = scrape(app).names()
    assert names >= {
        *("http_request_duration_seconds_bucket", "http_requests_total"),
        *("http_requests_in_progress", "http_request_errors_total"),
        *("http_request_size_bytes_sum", "http_response_size_bytes_sum"),
        *("db_query_duration_seconds_bucket", "db_queries_per_request_bucket"),
        *("db_pool_connections", "db_pool_size", "db_pool_overflow", "db_pool_max_connections"),
        *("cache_requests_total", "cache_hits_total", "perfkit_findings_total"),
        *("process_resident_memory_bytes", "process_cpu_seconds_total"),
    }


def test_the_trace_that_opentelemetry_has_stands_beside_the_duration() -> None:
    trace = pytest.importorskip("opentelemetry.trace")
    span_context = trace.SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=trace.TraceFlags(1))

    def view() -> str:
        # What a server's span does: it is the current one until the request ends.
        token = attach(trace.set_span_in_context(trace.NonRecordingSpan(span_context)))
        tokens.append(token)
        return "ok"

    from opentelemetry.context import attach, detach

    tokens: list[Any] = []
    with archive(metrics_path="/metrics") as app:
        add(app, "/", view)
        client = app.test_client()
        client.get("/")
        detach(tokens.pop())
        text = client.get("/metrics", headers={"Accept": OPENMETRICS}).text
    (line,) = [line for line in text.splitlines() if " # {" in line]
    assert f'trace_id="{0xABC:032x}"' in line
    assert f'span_id="{0xDEF:016x}"' in line


@pytest.mark.slow
def test_the_use_of_indexes_is_shown_where_it_is_asked_for(postgres_url: str) -> None:
    from flask_sqlalchemy import SQLAlchemy

    database = SQLAlchemy()
    app = _plain_app(SQLALCHEMY_DATABASE_URI=postgres_url, PERFKIT_METRICS_INDEXES=True)
    database.init_app(app)
    PerfKit(app, database)
    with app.app_context():
        with database.engine.begin() as connection:
            connection.execute(sa.text("CREATE TABLE pages (id int PRIMARY KEY)"))
        seen = scrape(app)
        database.engine.dispose()
    index = {"index": "pages_pkey", "table": "public.pages"}
    assert seen.of("db_index_size_bytes", **index) > 0
    assert "db_index_scans_total" in seen.names()


def test_the_use_of_indexes_is_not_asked_of_other_databases() -> None:
    with archive(metrics_path="/metrics", metrics_indexes=True) as app:
        assert "db_index_scans_total" not in scrape(app).names()


def test_a_database_that_hangs_does_not_hold_up_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr("flask_perfkit.metrics.page.indexes._LONGEST", 0.05)
    monkeypatch.setattr(
        "flask_perfkit.metrics.page.indexes.index_use", lambda engine, seconds: over.wait(30)
    )
    with archive(metrics_path="/metrics", metrics_indexes=True) as app:
        with app.app_context():
            monkeypatch.setattr(db.engine.dialect, "name", "postgresql")
        try:
            for _ in range(3):
                assert "db_index_scans_total" not in scrape(app).names()
            assert threading.active_count() < 10
        finally:
            over.set()
