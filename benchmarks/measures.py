"""What is measured inside a process that runs one variant."""

from __future__ import annotations

import gc
import os
from dataclasses import dataclass
from time import process_time_ns
from typing import TYPE_CHECKING

from opcodes import count

if TYPE_CHECKING:
    from application import Server
    from flask import Flask


@dataclass(frozen=True)
class Cost:
    """CPU time in nanoseconds and resident memory in bytes."""

    time: int
    memory: int

    @classmethod
    def so_far(cls) -> Cost:
        """Return what this process has used."""
        return cls(process_time_ns(), resident())

    def since(self, before: Cost) -> Cost:
        return Cost(self.time - before.time, self.memory - before.memory)


@dataclass(frozen=True)
class Start:
    """What it cost to import a variant and to set an application up with it.

    ``note`` is what a reader of the figures must know, ``failure`` why there are none.
    """

    imported: Cost = Cost(0, 0)
    set_up: Cost = Cost(0, 0)
    note: str | None = None
    failure: str | None = None


@dataclass(frozen=True)
class Opcodes:
    """Opcodes of a request to each endpoint, and of one query more.

    ``query`` is one more in a request that asks in a loop, ``unwatched_query`` one more outside
    of requests.
    """

    requests: dict[str, int]
    query: float
    unwatched_query: float


def count_opcodes(app: Flask, server: Server, endpoints: dict[str, str]) -> Opcodes:
    from application import loop

    def request(path: str) -> int:
        return count(lambda: server.get(path))

    def job(times: int) -> int:
        with app.app_context():
            return count(lambda: loop(times))

    return Opcodes(
        requests={name: request(path) for name, path in endpoints.items()},
        query=(request("/loop/100") - request("/loop/50")) / 50,
        unwatched_query=(job(100) - job(50)) / 50,
    )


def time_requests(app: Flask, server: Server, path: str, requests: int) -> float:
    """Return the CPU time of one request in microseconds, the process's other threads included."""
    server.get(path)  # another process has just had the processor's caches
    started = process_time_ns()
    for _ in range(requests):
        server.get(path)
    return (process_time_ns() - started) / requests / 1000


def grow(app: Flask, server: Server, paths: str, requests: int) -> int:
    """Return the bytes that the process grew by in the last nine tenths of so many requests.

    :param paths: the path, with a place for the request's number.
    """
    warm = requests // 10
    for number in range(warm):
        server.get(paths.format(number))
    gc.collect()
    before = resident()
    for number in range(warm, requests):
        server.get(paths.format(number))
    gc.collect()
    return resident() - before


def resident() -> int:
    """Return the resident memory of this process in bytes."""
    try:
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except FileNotFoundError:  # not Linux
        import psutil

        return int(psutil.Process().memory_info().rss)
