"""Behind asgiref, which says of each server that it has several processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

PROGRAM = """
import asyncio

from asgiref.testing import ApplicationCommunicator
from asgiref.wsgi import WsgiToAsgi
from flask import Flask

from flask_perfkit import PerfKit


async def ask(asgi):
    scope = {"type": "http", "http_version": "1.1", "method": "GET", "path": "/"}
    scope |= {"query_string": b"", "headers": []}
    asked = ApplicationCommunicator(asgi, scope)
    await asked.send_input({"type": "http.request"})
    assert (await asked.receive_output(30))["status"] == 200
    await asked.receive_output(30)
    await asked.wait(30)


def main():
    app = Flask("shop", root_path=".")
    app.config["PERFKIT_METRICS_PATH"] = "/metrics"
    PerfKit(app)
    app.add_url_rule("/", view_func=lambda: "ok")
    asyncio.run(ask(WsgiToAsgi(app)))


main()
"""


def test_one_process_is_not_warned_of_others(tmp_path: Path) -> None:
    (tmp_path / "serve.py").write_text(PROGRAM)
    environment = {key: value for key, value in os.environ.items() if "PROMETHEUS" not in key}
    done = subprocess.run(
        ["sh", "-c", f'"{sys.executable}" serve.py; exit $?'],  # as from a shell: no server's child
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    assert done.stderr == ""
