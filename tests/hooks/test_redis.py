"""Commands to a real server: which of them are findings, and which are told by one that is not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from archive import line_of, profiles
from flask import Flask

from flask_perfkit import Finding, PerfKit

redis = pytest.importorskip("redis")
redis_asyncio = pytest.importorskip("redis.asyncio")

View = Callable[..., Any]


@pytest.fixture
def client(redis_url: str) -> Iterator[Any]:
    with redis.Redis.from_url(redis_url) as client:
        client.mset({f"key {number}": number for number in range(10)})
        yield client


def found(view: View) -> list[Finding]:
    """Return the findings of a request to a view, in an application of its own."""
    app = Flask("cached", root_path=".")
    app.config["PERFKIT_SLOW_REQUEST"] = None
    PerfKit(app)
    app.add_url_rule("/", "cached", view)
    with profiles(app) as collected:
        assert app.test_client().get("/").status_code == 200
    (profile,) = collected
    return list(profile.findings)


# KEYS


def test_keys_once_is_enough(client: Any) -> None:
    def count() -> str:
        return str(len(client.keys("key*")))

    (finding,) = found(count)
    assert (finding.kind, finding.severity, finding.count) == ("redis_keys", "error", 1)
    assert (finding.filename, finding.lineno) == line_of(count, "client.keys")
    assert finding.fix == "for key in r.scan_iter(match=pattern, count=1000)"


def test_keys_by_whatever_spelling(client: Any) -> None:
    def count() -> str:
        client.execute_command("keys", "*")
        return "ok"

    assert [finding.kind for finding in found(count)] == ["redis_keys"]


def test_keys_in_a_pipeline(client: Any) -> None:
    def count() -> str:
        with client.pipeline() as pipeline:
            pipeline.get("key 1").keys("*")
            pipeline.execute()
        return "ok"

    (finding,) = found(count)
    assert (finding.kind, finding.count) == ("redis_keys", 1)
    assert (finding.filename, finding.lineno) == line_of(count, "pipeline.execute")


def test_keys_of_an_asyncio_client(redis_url: str) -> None:
    async def count() -> str:
        async with redis_asyncio.Redis.from_url(redis_url) as client:
            await client.keys("*")
        return "ok"

    (finding,) = found(count)
    assert finding.kind == "redis_keys"
    assert (finding.filename, finding.lineno) == line_of(count, "client.keys")


def test_a_pattern_is_not_kept(client: Any) -> None:
    def count() -> str:
        client.keys("secret:*")
        return "ok"

    (finding,) = found(count)
    assert "secret" not in str(finding.to_dict())


def test_scanning_is_none(client: Any) -> None:
    def scan() -> str:
        return str(len(list(client.scan_iter(match="key*", count=100))))

    assert found(scan) == []


def test_keys_of_a_dictionary_and_hashes_are_none(client: Any) -> None:
    client.hset("hash", mapping={"a": 1})

    def other() -> str:
        client.hkeys("hash")
        return str(list({"a": 1}.keys()))

    assert found(other) == []


# Reads in a loop


def test_gets_in_a_loop(client: Any) -> None:
    def show() -> str:
        return str([client.get(f"key {number}") for number in range(5)])

    (finding,) = found(show)
    assert (finding.kind, finding.severity) == ("n_plus_one_cache", "warning")
    assert (finding.subject, finding.count, finding.fix) == ("GET", 5, "r.mget(keys)")
    assert (finding.filename, finding.lineno) == line_of(show, "client.get")


def test_gets_of_an_asyncio_client(redis_url: str) -> None:
    async def show() -> str:
        async with redis_asyncio.Redis.from_url(redis_url) as client:
            for number in range(7):
                await client.get(f"key {number}")
        return "ok"

    (finding,) = found(show)
    assert (finding.kind, finding.count) == ("n_plus_one_cache", 7)
    assert (finding.filename, finding.lineno) == line_of(show, "client.get")


def test_fewer_than_the_threshold_are_none(client: Any) -> None:
    def show() -> str:
        return str([client.get(f"key {number}") for number in range(4)])

    assert found(show) == []


def test_all_at_once_are_none(client: Any) -> None:
    def show() -> str:
        keys = [f"key {number}" for number in range(10)]
        return str(client.mget(keys))

    assert found(show) == []


def test_a_pipeline_is_none(client: Any) -> None:
    def show() -> str:
        with client.pipeline() as pipeline:
            for number in range(10):
                pipeline.get(f"key {number}")
            return str(pipeline.execute())

    assert found(show) == []


def test_writes_in_a_loop_are_none(client: Any) -> None:
    def store() -> str:
        for number in range(10):
            client.set(f"key {number}", number)
        return "ok"

    assert found(store) == []


def test_outside_of_a_request_a_client_works_as_ever(client: Any) -> None:
    assert client.get("key 3") == b"3"
    with client.pipeline() as pipeline:
        assert pipeline.get("key 1").get("none").execute() == [b"1", None]
