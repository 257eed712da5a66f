"""Several workers of a real server show one picture: that of the store they share."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.metrics.servers import Server, gunicorn, until

pytestmark = pytest.mark.slow

APP = """
import os
from flask import Flask
from flask_perfkit import PerfKit

app = Flask(__name__)
app.config.update(
    PERFKIT_DASHBOARD=True,
    PERFKIT_DASHBOARD_AUTH=lambda: True,
    PERFKIT_STORAGE_URL=f"sqlite:///{os.getcwd()}/profiles.db",
)
PerfKit(app)
app.add_url_rule("/pid", "pid", lambda: str(os.getpid()))
app.add_url_rule("/health", "health", lambda: "ok")
"""
ASKED, WORKERS = 60, 4


def counted(server: Server) -> float:
    """Return how many requests one of the workers says that there were."""
    routes = json.loads(server.get("/perfkit?q=pid&format=json"))["routes"]
    return sum(route["count"] for route in routes)


def test_four_workers_show_one_picture(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(APP)
    with gunicorn(tmp_path, "shop:app", "--workers", str(WORKERS)) as server:
        pids = {server.get("/pid") for _ in range(ASKED)}
        until(lambda: counted(server) == ASKED, server)
        assert {counted(server) for _ in range(3 * WORKERS)} == {ASKED}
    assert len(pids) > 1
