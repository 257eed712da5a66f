"""``flask perfkit system``: what it prints, once and while it watches."""

from __future__ import annotations

import dataclasses
import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from test_figures import METRICS

from flask_perfkit import PerfKit
from flask_perfkit.system.report import Look

ROOT = Path(__file__).parents[2]
MB = 1024 * 1024
LATER = dataclasses.replace(
    METRICS,
    disk_read_bytes=METRICS.disk_read_bytes + 3 * MB,
    net_recv_bytes=METRICS.net_recv_bytes + MB,
    memory_limit=512 * MB,
    cpu_limit=1.5,
)


def test_the_first_look() -> None:
    assert Look(METRICS).lines() == [
        "machine    load 0.52   memory 41.3%   disk 70.5%",
        "disks      read 0.0MB   written 0.0MB",
        "network    sent 0.0MB   received 0.0MB",
        "command    cpu 45.2%   memory 512.3MB (15.2%)   threads 8   files 20   collections 5",
    ]


def test_the_next_look_is_by_the_second() -> None:
    lines = Look(LATER, METRICS, elapsed=2.0).lines()
    assert lines[1:4] == [
        "disks      read 1.5MB/s   written 0.0MB/s",
        "network    sent 0.0MB/s   received 0.5MB/s",
        "container  memory 512.0MB   cpu 1.5 cores",
    ]


def test_what_is_hidden_is_left_out() -> None:
    figures = {field.name: None for field in dataclasses.fields(METRICS)}
    hidden = dataclasses.replace(METRICS, **(figures | {"cpu_percent": 0.0, "gc_collections": 5}))
    assert Look(hidden).lines() == ["command    cpu 0.0%   collections 5"]


@pytest.fixture
def app() -> Flask:
    app = Flask("shop", root_path=".")
    PerfKit(app)
    return app


def run(app: Flask, *arguments: str) -> Any:
    return app.test_cli_runner().invoke(args=["perfkit", "system", *arguments])


def test_the_command_looks_once(app: Flask) -> None:
    result = run(app)
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.output.splitlines()][-1] == "command"


def test_json_has_every_figure(app: Flask) -> None:
    figures = json.loads(run(app, "--json").output)
    assert figures.keys() == {field.name for field in dataclasses.fields(METRICS)}


def test_a_bad_interval_is_refused(app: Flask) -> None:
    result = run(app, "--watch", "0")
    assert result.exit_code == 2
    assert "--watch" in result.output


def test_without_psutil_the_extra_is_named(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    result = run(app)
    assert result.exit_code == 1
    assert result.output.endswith("pip install 'flask-perfkit[system]'\n")


@contextmanager
def watching(tmp_path: Path, *arguments: str, stdout: int) -> Iterator[subprocess.Popen[str]]:
    (tmp_path / "shop.py").write_text(
        "import flask, flask_perfkit\napp = flask.Flask('shop')\nflask_perfkit.PerfKit(app)\n"
    )
    command = [sys.executable, "-m", "flask", "--app", "shop", "perfkit", "system", *arguments]
    environment = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    with subprocess.Popen(command, stdout=stdout, env=environment, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_watching_ends_with_ctrl_c(tmp_path: Path) -> None:
    with watching(tmp_path, "--watch", "0.1", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        shown = [process.stdout.readline() for _ in range(12)]
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(timeout=30) == 0
    assert len([line for line in shown if line.startswith("machine")]) >= 2
    assert any("MB/s" in line for line in shown)
    assert "\x1b" not in "".join(shown) + rest


def test_a_pipe_that_closes_ends_it(tmp_path: Path) -> None:
    with watching(tmp_path, "--watch", "0.1", "--json", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for _ in range(2):
            assert json.loads(process.stdout.readline())["load_average"] >= 0
        process.stdout.close()
        process.wait(timeout=30)


def test_a_terminal_shows_one_picture(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    with watching(tmp_path, "--watch", "0.1", stdout=theirs) as process:
        os.close(theirs)
        shown = b""
        while shown.count(b"machine") < 3:
            shown += os.read(ours, 4_096)
        process.send_signal(signal.SIGINT)
        try:
            while os.read(ours, 4_096):
                pass
        except OSError:  # how a terminal says that nobody writes any more
            pass
        assert process.wait(timeout=30) == 0
    os.close(ours)
    lines = shown.split(b"\x1b")[0].count(b"\n")
    assert set(re.findall(rb"\x1b\[(\d+)F\x1b\[J", shown)) == {str(lines).encode()}
