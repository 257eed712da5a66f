"""The first requests of a process, all at once: each is counted, and seen on the page."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from flask import Flask

from flask_perfkit import PerfKit
from tests.metrics.scraping import scrape
from tests.metrics.servers import Server, gunicorn, serving

AT_ONCE = 40

APP = """
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from flask_perfkit import PerfKit

app = Flask("shop", root_path=".")
app.config["PERFKIT_METRICS_PATH"] = "/metrics"
app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:///shop.db"
db = SQLAlchemy(app)
PerfKit(app)

@app.get("/orders")
def orders():
    return str(db.session.execute(db.text("SELECT 42")).scalar())
"""


@pytest.fixture
def eager_threads() -> Iterator[None]:
    """Let threads take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def at_once(ask: Callable[[], object]) -> None:
    """Ask from many threads, none of which begins before all are there."""
    barrier = Barrier(AT_ONCE)

    def wait_and_ask(_: int) -> None:
        barrier.wait()
        ask()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(wait_and_ask, range(AT_ONCE)))


@pytest.mark.parametrize("application", range(5))
def test_threads_of_one_process(eager_threads: None, application: int) -> None:
    app = Flask("shop", root_path=".")
    app.config["PERFKIT_METRICS_PATH"] = "/metrics"
    PerfKit(app)
    app.add_url_rule("/", "index", lambda: "ok")
    at_once(lambda: app.test_client().get("/"))
    seen = scrape(app)
    assert seen.of("http_requests_total", method="GET", route="/", status="200") == AT_ONCE
    assert seen.of("db_queries_per_request_count", route="/") == AT_ONCE
    assert seen.of("http_requests_in_progress") == 0


def check(server: Server) -> None:
    """Ask a server that was asked nothing yet, and compare what it shows."""
    at_once(lambda: server.get("/orders"))
    for _ in range(5):  # whichever worker answers
        seen = server.scrape()
        assert seen.sum("http_requests_total") == AT_ONCE
        assert seen.of("db_query_duration_seconds_count", route="/orders") == AT_ONCE
        assert seen.of("db_pool_wait_seconds_count") == AT_ONCE
        assert seen.of("db_pool_connections", state="used") == 0
        assert seen.of("http_requests_in_progress") == 0


def listens(server: Server) -> bool:
    """Tell whether the port is open, without a request."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", server.port)) == 0


@pytest.mark.slow
@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["each imports", "preload"])
def test_threads_of_gunicorn(tmp_path: Path, preload: tuple[str, ...]) -> None:
    (tmp_path / "shop.py").write_text(APP)
    options = ("-k", "gthread", "--workers", "2", "--threads", "20", *preload)
    with gunicorn(tmp_path, "shop:app", *options, ready=listens) as server:
        check(server)


@pytest.mark.slow
def test_threads_of_uwsgi(tmp_path: Path) -> None:
    uwsgi = str(Path(sys.executable).with_name("uwsgi"))
    (tmp_path / "shop.py").write_text(APP)
    options = ("--master", "--processes", "2", "--threads", "4", "--enable-threads")
    command = (uwsgi, "--module", "shop:app", *options, "--virtualenv", sys.prefix)
    with serving(tmp_path, command, "--http-socket", ready=listens) as server:
        check(server)
