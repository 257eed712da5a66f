"""Real servers on the loopback address, ended by their process id."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from tests.metrics.scraping import Scrape, read

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0  # seconds

T = TypeVar("T")


class Server:
    """A process that listens on a port; ``log`` is the file of what it says."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self.log = log

    def get(self, path: str, headers: dict[str, str] | None = None, method: str = "GET") -> str:
        """Ask in a connection of its own, so that any worker may answer; must answer 200."""
        status, text = self.ask(path, headers, method)
        assert status == 200, (path, status, text)
        return text

    def ask(
        self, path: str, headers: dict[str, str] | None = None, method: str = "GET"
    ) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, headers=headers or {})
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def scrape(self) -> Scrape:
        return read(self.get("/metrics"))


@contextmanager
def gunicorn(
    directory: Path,
    app: str,
    *options: str,
    ready: Callable[[Server], bool] | None = None,
    **environment: str,
) -> Iterator[Server]:
    """Serve a module's application from a directory, by gunicorn."""
    command = (sys.executable, "-m", "gunicorn", app, *options)
    with serving(directory, command, "--bind", ready=ready, **environment) as server:
        yield server


@contextmanager
def serving(
    directory: Path,
    command: Sequence[str],
    bind: str,
    *,
    ready: Callable[[Server], bool] | None = None,
    **environment: str,
) -> Iterator[Server]:
    """Run the command of a server that takes its address by the option ``bind``.

    :param ready: tells that it serves; unless set, it answers ``/health``.
    """
    port = free_port()
    inherited = {key: value for key, value in os.environ.items() if "PROMETHEUS" not in key}
    paths = os.pathsep.join([str(directory), str(ROOT)])
    temporary = directory / "tmp"
    temporary.mkdir(exist_ok=True)
    log = directory / "server.log"
    with running(
        [*command, bind, f"127.0.0.1:{port}"],
        {**inherited, "PYTHONPATH": paths, "TMPDIR": str(temporary), **environment},
        log,
    ) as process:
        server = Server(process, port, log)
        until(lambda: ready(server) if ready else answers(server, "/health"), server)
        yield server


@contextmanager
def running(
    command: list[str], environment: dict[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server for as long as the block; everything it says goes to a file."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=environment, cwd=log.parent, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(PATIENCE)


def until(look: Callable[[], T], server: Server | None = None) -> T:
    """Return what ``look`` finds as soon as that is true."""
    deadline = time.monotonic() + PATIENCE
    while not (found := look()):
        said = server.log.read_text()[-3000:] if server else ""
        assert server is None or server.process.poll() is None, said
        assert time.monotonic() < deadline, f"{look} has not come true; {said}"
        time.sleep(0.02)
    return found


def answers(server: Server, path: str) -> bool:
    try:
        return server.ask(path)[0] == 200
    except OSError:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
