"""Calls that hold up an event loop, told from those that do not."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from time import sleep
from typing import Any

import pytest
from archive import line_of, profiles
from flask import Flask

from flask_perfkit import Finding, PerfKit


def found(view: Callable[..., Any]) -> list[Finding]:
    """Return the findings of a request to a view, in an application of its own."""
    app = Flask(__name__)
    app.config["PERFKIT_SLOW_REQUEST"] = None
    PerfKit(app)
    app.add_url_rule("/", "waiting", view)
    with profiles(app) as collected:
        assert app.test_client().get("/").status_code == 200
    (profile,) = collected
    return list(profile.findings)


async def sleeps() -> str:
    time.sleep(0.001)
    return "ok"


async def sleeps_by_name() -> str:
    sleep(0.001)
    return "ok"


async def waits_for_a_process() -> str:
    subprocess.run([sys.executable, "-c", ""], capture_output=True, timeout=60, check=True)
    return "ok"


@pytest.mark.parametrize(
    ("view", "line", "name", "fix"),
    [
        (sleeps, "time.sleep(", "time.sleep", "await asyncio.sleep(seconds)"),
        (sleeps_by_name, "    sleep(", "time.sleep", "await asyncio.sleep(seconds)"),
        (
            waits_for_a_process,
            "subprocess.run",
            "subprocess",
            "await asyncio.create_subprocess_exec(...)",
        ),
    ],
)
def test_a_call_that_blocks_the_loop(
    view: Callable[..., Any], line: str, name: str, fix: str
) -> None:
    (finding,) = found(view)
    assert (finding.kind, finding.severity, finding.count) == ("blocking_call", "error", 1)
    assert (finding.subject, finding.fix, finding.function) == (name, fix, view.__name__)
    assert (finding.filename, finding.lineno) == line_of(view, line)


def test_connecting_blocks_the_loop() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        async def connects() -> str:
            with socket.create_connection(server.getsockname()):
                return "ok"

        (finding,) = found(connects)
    assert (finding.kind, finding.subject) == ("blocking_call", "socket.connect")
    assert (finding.filename, finding.lineno) == line_of(connects, "create_connection")


def test_a_loop_of_calls_is_one_finding() -> None:
    async def sleeps_often() -> str:
        for _ in range(3):
            time.sleep(0.001)
        return "ok"

    (finding,) = found(sleeps_often)
    assert finding.count == 3
    assert "blocked the event loop 3x" in finding.message


def sync() -> str:
    time.sleep(0.001)
    return "ok"


async def asynchronous() -> str:
    await asyncio.sleep(0.001)
    return "ok"


async def in_a_thread() -> str:
    await asyncio.to_thread(time.sleep, 0.001)
    return "ok"


async def asynchronous_process() -> str:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", "")
    assert await process.wait() == 0
    return "ok"


@pytest.mark.parametrize("view", [sync, asynchronous, in_a_thread, asynchronous_process])
def test_what_leaves_the_loop_alone(view: Callable[..., Any]) -> None:
    assert found(view) == []


def test_an_asynchronous_connection_leaves_the_loop_alone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()

        async def connects() -> str:
            _, writer = await asyncio.open_connection(host, port)
            writer.close()
            await writer.wait_closed()
            return "ok"

        assert found(connects) == []


def test_outside_of_a_request_time_goes_by_as_ever() -> None:
    found(sync)
    started = time.monotonic()
    time.sleep(0.01)
    assert time.monotonic() - started >= 0.01
    with pytest.raises(ValueError, match="non-negative"):
        time.sleep(-1)


def test_what_somebody_else_has_put_in_its_place_is_found_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As gevent does, where a server patches after the application was imported."""
    original = time.sleep

    def patched(seconds: float) -> None:
        original(seconds)

    monkeypatch.setattr(time, "sleep", patched)
    (finding,) = found(sleeps)  # the wrappers that lie in each other are one call
    assert (finding.kind, finding.subject, finding.count) == ("blocking_call", "time.sleep", 1)
