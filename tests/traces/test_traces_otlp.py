"""Spans and metrics arrive at a real OTLP receiver, from workers that gunicorn forked."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

HERE = Path(__file__).parent
DEADLINE = 60


class Receiver:
    """Takes what is sent over HTTP to ``/v1/traces`` and ``/v1/metrics`` and decodes it."""

    def __init__(self, port: int = 0) -> None:
        self.resources: list[dict[str, Any]] = []
        self.spans: list[Any] = []
        self.metrics: set[str] = set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.take(self.path, body)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def take(self, path: str, body: bytes) -> None:
        if path == "/v1/traces":
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.resources.append(plain(resource.resource.attributes))
                for scope in resource.scope_spans:
                    self.spans += scope.spans
        else:
            assert path == "/v1/metrics"
            for measured in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                self.resources.append(plain(measured.resource.attributes))
                for scope in measured.scope_metrics:
                    self.metrics |= {metric.name for metric in scope.metrics}

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def plain(attributes: Any) -> dict[str, Any]:
    def value(item: KeyValue) -> Any:
        return getattr(item.value, item.value.WhichOneof("value") or "string_value")

    return {item.key: value(item) for item in attributes}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def gunicorn(receiver: Receiver, own_set_up: bool) -> Iterator[Callable[[], dict[str, Any]]]:
    """Serve with two preloaded workers; yields what asks for the owners."""
    port = free_port()
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("OTEL_")
    }
    environment |= {
        "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent), str(HERE.parents[1])]),
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_METRIC_EXPORT_INTERVAL": "100",
        "no_proxy": "127.0.0.1",
    }
    arguments = ["--preload", "--workers=2", f"--bind=127.0.0.1:{port}"]
    arguments.append(f"otlp_app:create_app({own_set_up})")
    server = subprocess.Popen([sys.executable, "-m", "gunicorn", *arguments], env=environment)

    def ask() -> dict[str, Any]:
        answer = within(lambda: answer_of(f"http://127.0.0.1:{port}/owners"))
        assert isinstance(answer, dict)
        return answer

    try:
        yield ask
    finally:
        server.terminate()
        server.wait(timeout=30)


def answer_of(url: str) -> Any:
    try:
        with urlopen(url, timeout=10) as response:
            return json.load(response)
    except (URLError, ConnectionError):
        return None


def within(look: Callable[[], Any]) -> Any:
    """Look again and again until there is something."""
    end = time.monotonic() + DEADLINE
    while not (seen := look()):
        assert time.monotonic() < end, "nothing arrived"
        time.sleep(0.02)
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("own_set_up", [False, True])
def test_workers_send(receiver: Receiver, own_set_up: bool) -> None:
    pids: set[int] = set()

    def asked_both() -> bool:
        pids.add(ask()["pid"])
        return len(pids) == 2

    with gunicorn(receiver, own_set_up) as ask:
        within(asked_both)
    # What was not sent yet is sent when a worker ends.
    servers = [span for span in receiver.spans if span.kind == span.SPAN_KIND_SERVER]
    assert {span.name for span in servers} == {"GET /owners"}
    assert len(servers) >= 2
    for server in servers:
        clients = [span for span in receiver.spans if span.parent_span_id == server.span_id]
        assert len(clients) == 11
        assert [event.name for event in server.events] == ["perfkit.finding"]
        assert plain(server.events[0].attributes)["perfkit.finding.subject"] == "Document.user"
    if not own_set_up:
        assert {resource["service.name"] for resource in receiver.resources} == {"archive"}
        assert len({resource["service.instance.id"] for resource in receiver.resources}) == 2
        assert receiver.metrics >= {
            "http.server.request.duration",
            "db.client.operation.duration",
        }


ALONE = """
import logging, sys, time
logging.basicConfig(level=logging.INFO)
from flask import Flask
from flask_perfkit import PerfKit

app = Flask("shop", root_path=".")
app.config["PERFKIT_TRACES"] = True
app.config["PERFKIT_SLOW_REQUEST"] = None
PerfKit(app)
app.add_url_rule("/", view_func=lambda: "ok")
client = app.test_client()
try:
    while True:
        client.get("/")
        print("asked", flush=True)
        time.sleep(0.05)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def alone(port: int, **environment: str) -> subprocess.Popen[str]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
    return subprocess.Popen(
        [sys.executable, "-c", ALONE],
        env=inherited
        | {"PYTHONPATH": str(HERE.parents[1]), "no_proxy": "127.0.0.1"}
        | {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"}
        | {"OTEL_BSP_SCHEDULE_DELAY": "50", "OTEL_METRIC_EXPORT_INTERVAL": "50"}
        | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_without_a_collector_there_is_one_line_and_no_waiting() -> None:
    process = alone(port := free_port())
    assert process.stdout is not None
    for _ in range(20):  # a second: many times what is between two tries to send
        assert process.stdout.readline() == "asked\n"
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=5)  # OpenTelemetry itself tries for 7 and more
    assert output.endswith("interrupted\n")
    start, line = errors.splitlines()
    assert start.startswith("INFO:flask_perfkit:PerfKit watches 'shop': ")
    assert line.startswith("WARNING:flask_perfkit:PERFKIT_TRACES: no collector at 127.0.0.1:")
    assert str(port) in line
    assert process.returncode == 0


def test_a_collector_that_comes_later_gets_what_happens_then() -> None:
    process = alone(port := free_port())
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        assert "PerfKit watches 'shop'" in process.stderr.readline()
        assert "no collector" in process.stderr.readline()
        late = Receiver(port)
        try:
            within(lambda: late.spans)
        finally:
            late.close()
    finally:
        process.kill()
        process.communicate()
