"""Many readers of a key that is not there."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from multiprocessing.connection import Connection
from typing import Any

import pytest
import redis
import sqlalchemy as sa
from cache_models import Counted, Document, titles
from cache_processes import running
from sqlalchemy.orm import Session

from flask_perfkit.cache.cache import Cache
from flask_perfkit.cache.lookup import maker
from flask_perfkit.cache.lookup.reader import Reader
from flask_perfkit.cache.stores import breaker, client

_PATIENCE = 60


def wait_for_the_server() -> None:
    """Take no server for slow or gone because this machine is busy."""
    breaker.SLOW_SECONDS = client._TIMEOUT = maker.LOCK_SECONDS = _PATIENCE


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Restore after the test what it is told to wait for."""
    for module, name in (
        (breaker, "SLOW_SECONDS"),
        (client, "_TIMEOUT"),
        (maker, "LOCK_SECONDS"),
    ):
        monkeypatch.setattr(module, name, _PATIENCE)


def in_threads(number: int, function: Callable[[], Any]) -> list[Any]:
    """Call a function in so many threads at once and return what they returned."""
    results: list[Any] = []
    barrier = threading.Barrier(number)

    def call() -> None:
        barrier.wait(_PATIENCE)
        results.append(function())

    threads = [threading.Thread(target=call) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_PATIENCE)
    return results


def slowly(value: Any, seconds: float = 0.05) -> Counted:
    def create() -> Any:
        time.sleep(seconds)
        return value

    return Counted(create)


def test_one_of_fifty_threads_runs_the_creator(cache: Cache) -> None:
    creator = slowly("value")
    assert (
        in_threads(50, lambda: cache.get_or_create("key", creator, depends_on=[])) == ["value"] * 50
    )
    assert creator.runs == 1


def test_who_missed_it_before_it_was_made_takes_what_was_made(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    creator = slowly("value", 0)
    missed, made = threading.Event(), threading.Event()
    found: list[str] = []
    late = threading.Thread(
        target=lambda: found.append(cache.get_or_create("key", creator, depends_on=[]))
    )
    read = Reader.read

    def pausing(*arguments: Any, **options: Any) -> Any:
        hit = read(*arguments, **options)
        if threading.current_thread() is late and not missed.is_set():
            missed.set()
            made.wait(60)
        return hit

    monkeypatch.setattr(Reader, "read", pausing)
    late.start()
    assert missed.wait(60)
    assert cache.get_or_create("key", creator, depends_on=[]) == "value"
    made.set()
    late.join(60)
    assert found == ["value"]
    assert creator.runs == 1


def test_keys_do_not_wait_for_each_other(cache: Cache) -> None:
    both = threading.Barrier(2)
    keys = iter(["one", "other"])
    in_threads(2, lambda: cache.get_or_create(next(keys), lambda: both.wait(60), depends_on=[]))
    assert not both.broken


def create_in_process(
    connection: Connection, url: str, lock: float, creator_takes: float | None, threads: int
) -> None:
    """Read the key when told to, and tell when the creator runs and when all have read.

    :param creator_takes: seconds; None waits for a second word.
    """
    wait_for_the_server()
    maker.LOCK_SECONDS = lock
    cache = Cache.from_url(url)

    def create() -> str:
        connection.send("creating")
        if creator_takes is None:
            connection.recv()
        else:
            time.sleep(creator_takes)
        return "by another process"

    connection.recv()
    in_threads(threads, lambda: cache.get_or_create("key", create, depends_on=[]))
    connection.send("done")


def test_one_of_four_processes_runs_the_creator(redis_url: str) -> None:
    with ExitStack() as stack:
        pipes = [
            stack.enter_context(running(create_in_process, redis_url, _PATIENCE, 0.2, 12))[1]
            for _ in range(4)
        ]
        for pipe in pipes:
            pipe.send("go")
        told = [pipe.recv() for pipe in pipes]
        told += [pipe.recv() for pipe, first in zip(pipes, told, strict=True) if first != "done"]
    assert sorted(told) == ["creating", *["done"] * 4]


def test_a_killed_creator_holds_the_others_up_no_longer_than_its_lock_lasts(
    redis_url: str,
) -> None:
    with running(create_in_process, redis_url, 0.3, None, 1) as (_, pipe):
        pipe.send("go")
        assert pipe.recv() == "creating"
    assert Cache.from_url(redis_url).get_or_create("key", lambda: "value", depends_on=[]) == "value"


def test_a_creator_that_outlives_its_lock_is_joined_and_disturbs_nobody(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maker, "LOCK_SECONDS", 0.05)
    with running(create_in_process, redis_url, 0.05, None, 1) as (_, pipe):
        pipe.send("go")
        assert pipe.recv() == "creating"
        assert (
            Cache.from_url(redis_url).get_or_create("key", lambda: "value", depends_on=[])
            == "value"
        )
        assert not pipe.poll()  # it still creates
        pipe.send("go on")
        assert pipe.recv() == "done"


def test_who_waits_gets_no_value_older_than_a_commit_that_it_knows_of(
    cache: Cache, sqlite_engine: sa.Engine
) -> None:
    has_read, go_on = threading.Event(), threading.Event()

    def create() -> list[str]:
        found = titles(sqlite_engine, 1)
        if not has_read.is_set():
            has_read.set()
            assert go_on.wait(60)
        return found

    seen: list[Any] = []

    def read() -> None:
        seen.append(cache.get_or_create("key", create, depends_on=[Document]))

    first = threading.Thread(target=read)
    first.start()
    assert has_read.wait(60)
    with Session(sqlite_engine) as session:
        session.get_one(Document, 1).title = "new"
        session.commit()
    second = threading.Thread(target=read)
    second.start()
    time.sleep(0.05)  # it waits for the first one
    go_on.set()
    first.join(60)
    second.join(60)
    assert seen == [["a"], ["new"]]


def test_nobody_waits_in_line_for_what_cannot_be_stored(
    cache: Cache, sqlite_engine: sa.Engine
) -> None:
    """Text SQL is not stored: after the first one the rest run side by side."""
    together = threading.Barrier(3)
    all_are_here = threading.Barrier(4)

    def create() -> int:
        with sqlite_engine.connect() as connection:
            connection.execute(sa.text("SELECT * FROM documents"))
        if creator.runs == 1:
            time.sleep(0.2)  # until the others wait for it
        else:
            together.wait(60)
        return 1

    def ask() -> int:
        all_are_here.wait(60)
        return cache.get_or_create("key", creator, depends_on=[])

    creator = Counted(create)
    assert in_threads(4, ask) == [1, 1, 1, 1]
    assert not together.broken


def test_an_exception_in_one_creator_lets_the_others_try(cache: Cache) -> None:
    def create() -> str:
        time.sleep(0.02)
        if creator.runs == 1:
            raise ZeroDivisionError
        return "value"

    creator = Counted(create)

    def read() -> Any:
        try:
            return cache.get_or_create("key", creator, depends_on=[])
        except ZeroDivisionError:
            return "failed"

    assert sorted(in_threads(5, read)) == ["failed", *["value"] * 4]


@pytest.mark.parametrize(("luck", "runs"), [(0.0, 1), (0.999999, 2)], ids=["none", "much"])
def test_an_expensive_value_may_be_made_anew_shortly_before_its_end(
    cache: Cache, monkeypatch: pytest.MonkeyPatch, luck: float, runs: int
) -> None:
    """A cost of 0.05 s times -ln(1 - luck) = 13.8 is 0.69 s, beyond the 0.5 s of its life."""
    monkeypatch.setattr(random, "random", lambda: luck)
    creator = slowly("value")
    for _ in range(2):
        cache.get_or_create("key", creator, ttl=0.5, depends_on=[])
    assert creator.runs == runs


def test_lives_differ_by_up_to_a_tenth_so_that_not_all_end_at_once(redis_url: str) -> None:
    cache = Cache.from_url(redis_url)
    for number in range(50):
        cache.get_or_create(f"key{number}", lambda: 1, ttl=1000, depends_on=[])
    with redis.Redis.from_url(redis_url) as client:
        lives = {client.pttl(f"perfkit:v:key{number}") for number in range(50)}
    assert len(lives) > 10
    assert all(899_000 < life <= 1_000_000 for life in lives)
