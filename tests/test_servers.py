"""Real servers: each counts and finds exactly, with the first requests at once."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

import pytest

from tests.metrics.servers import ROOT, Server, free_port, running, until

pytestmark = pytest.mark.slow

TOGETHER = 8
UWSGI = Path(sys.executable).with_name("uwsgi")

SHOP = """
    import logging
    import os
    import time

    from archive import archive, names_of_owners

    logging.basicConfig(format="%(message)s")
    archived = archive(
        SQLALCHEMY_DATABASE_URI=f"sqlite:///shop-{os.getpid()}.db", metrics_path="/metrics"
    )
    app = archived.__enter__()
    app.add_url_rule("/owners", view_func=lambda: names_of_owners())

    @app.get("/sleep")
    async def sleep():
        time.sleep(0.01)
        return "rested"
"""
ASGI = """
    from asgiref.wsgi import WsgiToAsgi
    from shop import app

    asgi = WsgiToAsgi(app)
"""
GUNICORN = "{python} -m gunicorn shop:app --bind {address}"
COMMANDS = {
    "gunicorn": GUNICORN,
    "gunicorn-gthread": f"{GUNICORN} --threads 4",
    "gunicorn-gevent": f"{GUNICORN} --worker-class gevent",
    "gunicorn-preload": f"{GUNICORN} --workers 2 --preload",
    "gunicorn-max-requests": f"{GUNICORN} --workers 2 --max-requests 3",
    "waitress": "{python} -m waitress --listen {address} shop:app",
    "hypercorn": "{python} -m hypercorn shop:app --bind {address}",
    "asgiref": "{python} -m hypercorn asgi:asgi --bind {address}",
    "uwsgi": "{uwsgi} --http {address} --module shop:app --master --threads 4",
}


@contextmanager
def serving(directory: Path, command: str) -> Iterator[Server]:
    """Start a server; it is not asked anything before it is given."""
    (directory / "shop.py").write_text(dedent(SHOP))
    (directory / "asgi.py").write_text(dedent(ASGI))
    port = free_port()
    words = command.format(python=sys.executable, uwsgi=UWSGI, address=f"127.0.0.1:{port}").split()
    temporary = directory / "tmp"
    temporary.mkdir()
    environment = {key: value for key, value in os.environ.items() if "PROMETHEUS" not in key}
    environment |= {
        "PYTHONPATH": f"{directory}:{ROOT / 'tests'}:{ROOT}",
        "TMPDIR": str(temporary),
        "VIRTUAL_ENV": sys.prefix,
    }
    log = directory / "server.log"
    with running(words, environment, log) as process:
        server = Server(process, port, log)
        until(lambda: listens(port), server)
        yield server


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_every_request_counts_with_the_first_ones_at_once(tmp_path: Path, name: str) -> None:
    with serving(tmp_path, COMMANDS[name]) as server:
        with ThreadPoolExecutor(TOGETHER) as pool:
            answers = list(pool.map(server.get, ["/owners"] * TOGETHER))
        assert {answer.count("user ") for answer in answers} == {10}
        labels = {"method": "GET", "route": "/owners", "status": "200"}
        until(lambda: server.scrape().of("http_requests_total", **labels) == TOGETHER, server)
        findings = {"kind": "n_plus_one", "route": "/owners"}
        assert server.scrape().of("perfkit_findings_total", **findings) == TOGETHER
    assert "n_plus_one: Document.user loaded 10 times" in (tmp_path / "server.log").read_text()


@pytest.mark.parametrize("patch", ["--gevent-monkey-patch", "--gevent-early-monkey-patch"])
def test_a_blocking_call_under_a_server_that_patches(tmp_path: Path, patch: str) -> None:
    command = "{uwsgi} --http {address} --module shop:app --master --gevent 10 " + patch
    with serving(tmp_path, command) as server:
        assert server.get("/sleep") == "rested"
        findings = {"kind": "blocking_call", "route": "/sleep"}
        assert server.scrape().of("perfkit_findings_total", **findings) == 1
