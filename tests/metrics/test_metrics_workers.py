"""Several workers under gunicorn: every scrape shows all of them, whoever answers it."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.metrics.servers import Server, gunicorn, until

pytest.importorskip("gunicorn", reason="gunicorn is in the extra [test]; it needs a POSIX system")
pytestmark = pytest.mark.slow

WORKERS = 4
RESTARTS = 40

SHOP = """
import os, signal, time
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from flask_perfkit import PerfKit, cache_stats
from prometheus_client import Counter, Gauge

serving = Gauge("workers_serving", "Of the application itself.", multiprocess_mode="livesum")
archived = Counter("documents_archived", "Of the application itself.")
db = SQLAlchemy()
app = Flask("shop")
app.config["PERFKIT_METRICS_PATH"] = "/metrics"
app.config["SQLALCHEMY_DATABASE_URI"] = "sqlite:///" + os.path.abspath("shop.db")
db.init_app(app)
PerfKit(app, db)

@app.get("/health")
def health():
    return "ok"

@app.get("/pid")
def pid():
    serving.set(1)
    return str(os.getpid())

@app.get("/query")
def query():
    archived.inc()
    cache_stats.miss()
    cache_stats.hit()
    return str(db.session.execute(sa.text("SELECT 1")).scalar())

@app.get("/burn")
def burn():
    end = time.process_time() + 0.05
    while time.process_time() < end:
        pass
    return "ok"

@app.get("/die")
def die():
    os.kill(os.getpid(), signal.SIGKILL)
"""

QUERY = {"method": "GET", "route": "/query", "status": "200"}
PID = {"method": "GET", "route": "/pid", "status": "200"}


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(SHOP)
    return tmp_path


def workers(server: Server, number: int = WORKERS) -> set[str]:
    """Ask until so many workers have answered, and return their process ids."""
    seen: set[str] = set()

    def look() -> bool:
        with ThreadPoolExecutor(8) as pool:
            seen.update(pool.map(server.get, ["/pid"] * 16))
        return len(seen) >= number

    until(look, server)
    return seen


def files(directory: Path) -> list[Path]:
    return sorted(directory.rglob("perfkit-*.rows"))


@pytest.mark.parametrize(("chosen", "preload"), [(False, True), (True, False)])
def test_every_scrape_shows_all_workers(shop: Path, chosen: bool, preload: bool) -> None:
    environment = {}
    if chosen:
        (shop / "figures").mkdir()  # prometheus_client wants it to be there
        environment["PROMETHEUS_MULTIPROC_DIR"] = str(shop / "figures")
    options = ["--preload"] if preload else []
    with gunicorn(shop, "shop:app", "-w", str(WORKERS), *options, **environment) as server:
        pids = workers(server)
        before = server.scrape()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(server.get, ["/query"] * 200))
        scrapes = [server.scrape() for _ in range(12)]
        master = Path(f"/proc/{server.process.pid}")
        assert len(pids) == WORKERS
        assert len(files(shop)) == WORKERS, "the master has none"

    for seen in scrapes:
        assert seen.of("http_requests_total", **QUERY) == 200
        assert seen.of("db_query_duration_seconds_count", route="/query") == 200
        assert seen.of("cache_requests_total", cache="default") == 400
        assert seen.of("cache_hits_total", cache="default") == 200
        assert seen.of("documents_archived_total") == (200 if chosen else 0)
        assert seen.of("http_requests_in_progress") == 0
        assert seen.of("process_workers") == WORKERS
        assert seen.of("db_pool_size") == WORKERS * 5
        assert seen.of("db_pool_connections", state="idle") == WORKERS
    cpu = [seen.of("process_cpu_seconds_total") for seen in (before, *scrapes)]
    assert cpu == sorted(cpu)
    memory = scrapes[0].of("process_resident_memory_bytes")
    assert WORKERS * 10e6 < memory < WORKERS * 500e6, master
    said = server.log.read_text()
    assert "several workers" not in said
    assert ("prometheus_client are left out" in said) is not chosen


def test_a_worker_that_is_killed_loses_nothing(shop: Path) -> None:
    with gunicorn(shop, "shop:app", "-w", str(WORKERS), "--preload") as server:
        workers(server)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(server.get, ["/query"] * 40))
            list(pool.map(server.get, ["/burn"] * 8))
        before = server.scrape()
        for _ in range(3):
            victim = int(server.get("/pid"))
            os.kill(victim, signal.SIGKILL)
            until(lambda victim=victim: not Path(f"/proc/{victim}").exists(), server)
        after = server.scrape()
        workers(server)
        again = server.scrape()

        assert before.of("http_requests_total", **QUERY) == 40
        assert after.of("http_requests_total", **PID) == before.of("http_requests_total", **PID) + 3
        assert after.of("http_requests_total", **QUERY) == 40
        assert again.of("http_requests_total", **QUERY) == 40
        assert again.of("process_workers") == WORKERS
        cpu = [seen.of("process_cpu_seconds_total") for seen in (before, after, again)]
        assert cpu == sorted(cpu)
        assert cpu[0] >= 0.4
        assert len(files(shop)) == WORKERS


def test_gauges_of_the_application_are_those_of_living_workers(shop: Path) -> None:
    (shop / "figures").mkdir()
    chosen = {"PROMETHEUS_MULTIPROC_DIR": str(shop / "figures")}
    with gunicorn(shop, "shop:app", "-w", str(WORKERS), **chosen) as server:
        workers(server)
        assert server.scrape().of("workers_serving") == WORKERS
        os.kill(int(server.get("/pid")), signal.SIGKILL)
        until(lambda: server.scrape().of("workers_serving") == WORKERS - 1, server)
        assert server.scrape().of("http_requests_total", **PID) >= WORKERS


def test_forty_restarts_leave_all_counts_and_no_files(shop: Path) -> None:
    """Scraped all the while, and no scrape fails, whatever moment it comes at."""
    options = ["-w", str(WORKERS), "--preload", "--max-requests", "5"]
    with gunicorn(shop, "shop:app", *options) as server, ThreadPoolExecutor(WORKERS) as pool:
        asked = most_files = 0
        while server.log.read_text().count("Booting worker") <= RESTARTS + WORKERS:
            answers = [pool.submit(server.get, "/query") for _ in range(2 * WORKERS)]
            for _ in range(2):
                assert server.ask("/metrics")[0] == 200
                most_files = max(most_files, len(files(shop)))
            assert {answer.result() for answer in answers} == {"1"}
            asked += len(answers)
        seen = server.scrape()

        assert seen.of("http_requests_total", **QUERY) == asked
        assert seen.of("db_query_duration_seconds_count", route="/query") == asked
        assert seen.of("process_workers") <= WORKERS
        assert most_files <= 3 * WORKERS
