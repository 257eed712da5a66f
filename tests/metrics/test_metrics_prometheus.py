"""A real Prometheus: every query of the documentation, and the rules that come with it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.metrics.servers import ROOT, Server, free_port, gunicorn, running, until
from tests.metrics.test_metrics_workers import SHOP, WORKERS

MONITORING = ROOT / "flask_perfkit" / "metrics" / "monitoring"
RULES = sorted(MONITORING.glob("*.rules.yml"))
DASHBOARD = json.loads((MONITORING / "dashboard.json").read_text())
HOW_TO_GET_IT = "is not on the PATH: apt-get install prometheus brings it (Debian, Ubuntu)"

pytestmark = pytest.mark.slow

RUNBOOK = [
    'rate(http_request_duration_seconds_bucket{le="1.0"}[5m])',
    "process_resident_memory_bytes",
    "rate(cache_hits_total[5m]) / rate(cache_requests_total[5m])",
    *(
        f"histogram_quantile({quantile},"
        " sum by (le) (rate(http_request_duration_seconds_bucket[5m])))"
        for quantile in (0.5, 0.95, 0.99)
    ),
]
PANELS = [
    target["expr"].replace("$__rate_interval", "5m").replace("$job", ".+").replace("$route", ".+")
    for panel in DASHBOARD["panels"]
    for target in panel["targets"]
]


def tool(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} {HOW_TO_GET_IT}")
    return path


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "rules", *RULES],
        ["check", "config", MONITORING / "prometheus.yml"],
        ["test", "rules", MONITORING / "tests.yml"],
    ],
    ids=lambda arguments: " ".join(map(str, arguments[:2])),
)
def test_promtool(arguments: list[str | Path]) -> None:
    result = subprocess.run(
        [tool("promtool"), *arguments], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "SUCCESS" in result.stdout


def test_every_alert_is_tested() -> None:
    alerts = re.findall(r"alert: (\w+)", (MONITORING / "alert.rules.yml").read_text())
    tests = (MONITORING / "tests.yml").read_text()
    assert len(alerts) == 8
    for alert in alerts:
        assert f"alertname: {alert}\n" in tests


@dataclass
class Prometheus:
    """A Prometheus that scrapes one server four times a second."""

    port: int
    shop: Server

    def ask(self, path: str, **parameters: str) -> Any:
        query = urllib.parse.urlencode(parameters)
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{query}"
        with urllib.request.urlopen(url, timeout=30) as response:
            return json.load(response)["data"]

    def values(self, query: str) -> list[float]:
        """Evaluate a query now; what is not a number is left out."""
        found = [float(each["value"][1]) for each in self.ask("query", query=query)["result"]]
        return [value for value in found if value == value]


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Prometheus]:
    binary = tool("prometheus")
    directory = tmp_path
    (directory / "shop.py").write_text(SHOP)
    for rules in RULES:
        shutil.copy(rules, directory)
    with gunicorn(directory, "shop:app", "-w", str(WORKERS), "--preload") as shop:
        port = free_port()
        configuration = (MONITORING / "prometheus.yml").read_text()
        configuration = configuration.replace("127.0.0.1:8000", f"127.0.0.1:{shop.port}").replace(
            "15s", "250ms\n  evaluation_interval: 250ms"
        )
        (directory / "prometheus.yml").write_text(configuration)
        command = [
            *(binary, f"--config.file={directory / 'prometheus.yml'}"),
            *(f"--storage.tsdb.path={directory / 'data'}", "--enable-feature=exemplar-storage"),
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        with running(command, dict(os.environ), directory / "prometheus.log") as process:
            ready = Server(process, port, directory / "prometheus.log")
            until(lambda: _is_ready(ready), ready)
            yield _under_load(Prometheus(port, shop))


def _is_ready(server: Server) -> bool:
    try:
        return server.ask("/-/ready")[0] == 200
    except OSError:
        return False


def _under_load(prometheus: Prometheus) -> Prometheus:
    """Ask until Prometheus has seen a rate of everything."""
    trace = {"traceparent": f"00-{'ab' * 16}-{'cd' * 8}-01"}

    def look() -> bool:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(prometheus.shop.get, ["/query"] * 30 + ["/pid"] * 10))
        prometheus.shop.get("/query", trace)
        return all(map(prometheus.values, RUNBOOK))

    until(look, prometheus.shop)
    return prometheus


def test_what_prometheus_gets(prometheus: Prometheus) -> None:
    """One test, since parallel runs would start these servers once each."""
    for query in RUNBOOK:
        assert prometheus.values(query), query
    for query in PANELS:
        assert prometheus.values(query) or query.endswith("> 0"), query
    check_figures(prometheus)
    check_rules(prometheus)
    check_exemplars(prometheus)


def check_figures(prometheus: Prometheus) -> None:
    (rate,) = set(prometheus.values(RUNBOOK[2]))
    assert rate == pytest.approx(0.5)
    (memory,) = prometheus.values(RUNBOOK[1])
    assert memory > WORKERS * 10e6
    # A busy machine answers many later than the quarter of a second that a scrape may take here.
    assert prometheus.values("max_over_time(up[5m])") == [1]
    for counter in ("http_requests_total", "process_cpu_seconds_total", "cache_hits_total"):
        assert prometheus.values(f"sum(resets({counter}[5m]))") == [0]


def check_rules(prometheus: Prometheus) -> None:
    def computed() -> list[Any]:
        groups = prometheus.ask("rules")["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        return rules if all(rule["health"] != "unknown" for rule in rules) else []

    assert {rule["health"] for rule in until(computed)} == {"ok"}
    assert until(lambda: prometheus.values("route:http_request_duration_seconds:p95_5m"))
    assert prometheus.values("cache:cache_hits:ratio_rate5m") == [pytest.approx(0.5)]


def check_exemplars(prometheus: Prometheus) -> None:
    now = time.time()
    found = prometheus.ask(
        "query_exemplars",
        query='http_request_duration_seconds_bucket{route="/query"}',
        start=str(now - 300),
        end=str(now + 1),
    )
    # One series for each bucket that a request fell into.
    told = {each["labels"]["trace_id"] for series in found for each in series["exemplars"]}
    assert told == {"ab" * 16}
