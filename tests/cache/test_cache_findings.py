"""What a profile says of the cache: its reads are seen, what it sends to its server is not."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, sleep
from typing import Any

import pytest
from archive import line_of, profiles
from flask import Flask

from flask_perfkit import Finding, PerfKit, Profile

View = Callable[..., Any]

perfkit = PerfKit()


@perfkit.cached(depends_on=[])
def square(number: int) -> int:
    return number * number


@pytest.fixture(params=["in process", "on a server"])
def ask(request: pytest.FixtureRequest) -> Callable[[View], Profile]:
    """Answer one request with the view; return its profile."""
    config: dict[str, Any] = {"PERFKIT_SLOW_REQUEST": None}
    if request.param == "on a server":
        config["PERFKIT_REDIS_URL"] = request.getfixturevalue("redis_url")

    def ask(view: View) -> Profile:
        app = Flask("cached", root_path=".")
        app.config.update(config)
        perfkit.init_app(app)
        app.add_url_rule("/", "cached", view)
        with profiles(app) as collected:
            assert app.test_client().get("/").status_code == 200
        (profile,) = collected
        return profile

    return ask


def only(profile: Profile) -> Finding:
    (finding,) = profile.findings
    assert (finding.kind, finding.severity) == ("n_plus_one_cache", "warning")
    return finding


def test_keys_read_one_by_one(ask: Callable[[View], Profile]) -> None:
    def show() -> list[Any]:
        return [perfkit.cache.get(f"key {number}") for number in range(7)]

    finding = only(ask(show))
    assert (finding.count, finding.subject) == (7, "get")
    assert (finding.filename, finding.lineno) == line_of(show, "perfkit.cache.get(")
    assert finding.fix == "perfkit.cache.get_many(keys)"
    assert finding.message.startswith("n_plus_one_cache: 7 reads of the cache, one by one (get, ")
    assert finding.message.endswith("; read once: perfkit.cache.get_many(keys)")


def test_keys_made_one_by_one(ask: Callable[[View], Profile]) -> None:
    def show() -> list[int]:
        return [
            perfkit.cache.get_or_create(f"key {number}", lambda: 1, depends_on=[])
            for number in range(5)
        ]

    finding = only(ask(show))
    assert (finding.count, finding.subject) == (5, "get_or_create")
    assert finding.fix == "perfkit.cache.get_many(keys), then make what is missing"


def test_a_cached_function_called_again_and_again(ask: Callable[[View], Profile]) -> None:
    def show() -> list[int]:
        return [square(number) for number in range(5)]

    finding = only(ask(show))
    assert (finding.filename, finding.lineno) == line_of(show, "square(number)")
    assert finding.fix == (
        "perfkit.cache.get_many([square.cache_key(...), ...]), then make what is missing"
    )


def test_one_key_read_again_and_again(ask: Callable[[View], Profile]) -> None:
    def show() -> list[int]:
        return [square(2) for _ in range(5)]

    finding = only(ask(show))
    assert finding.fix == "keep the value in a variable"
    assert "5 reads of one key, one by one" in finding.message


def test_four_reads_are_none(ask: Callable[[View], Profile]) -> None:
    def show() -> list[int]:
        return [square(number) for number in range(4)]

    assert ask(show).findings == ()


def test_keys_read_at_once_are_one_call(ask: Callable[[View], Profile]) -> None:
    def show() -> dict[str, Any]:
        perfkit.cache.set("key 3", "three")
        return perfkit.cache.get_many(f"key {number}" for number in range(100))

    profile = ask(show)
    assert profile.findings == ()
    assert [(call.kind, call.name, call.count) for call in profile.cache_calls] == [
        ("cache", "set", 1),
        ("cache", "get_many", 1),
    ]


def test_only_the_calls_to_the_cache_are_seen(ask: Callable[[View], Profile]) -> None:
    def show() -> str:
        for number in range(5):
            perfkit.cache.set(f"key {number}", number)
            perfkit.cache.delete(f"key {number}")
        perfkit.cache.delete_matching("key*")
        perfkit.cache.invalidate("books")
        square(3)
        return "ok"

    profile = ask(show)
    assert profile.findings == ()
    assert [(call.kind, call.name, call.count) for call in profile.cache_calls] == [
        ("cache", "set", 5),
        ("cache", "delete", 5),
        ("cache", "delete_matching", 1),
        ("cache", "invalidate", 1),
        ("cache", f"{__name__}.square", 1),
    ]


def test_near_entries_cost_no_trip_and_are_no_finding(redis_url: str) -> None:
    app = Flask("cached", root_path=".")
    app.config.update(PERFKIT_REDIS_URL=redis_url, PERFKIT_CACHE_NEAR=True)
    perfkit.init_app(app)
    app.add_url_rule("/", "cached", lambda: [square(number) for number in range(5)])
    with profiles(app) as collected:
        client = app.test_client()
        until = monotonic() + 30
        while not collected or collected[-1].cache_calls:
            assert monotonic() < until
            client.get("/")
            sleep(0.02)
    assert collected[0].findings[0].count == 5
    assert collected[-1].findings == ()
