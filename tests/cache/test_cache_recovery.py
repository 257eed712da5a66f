"""Forks, limits of our own, sources that fail, and servers that come back."""

from __future__ import annotations

import ast
import enum
import gc
import os
import random
import signal
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import redis
import sqlalchemy as sa
from cache_models import Counted, Document, count_documents
from cache_processes import running
from cache_server import Server
from flask import Flask, abort
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup
from sqlalchemy.orm import Session

from flask_perfkit.cache.cache import Cache
from flask_perfkit.cache.entries.serializer import NotCacheable, decode, encode
from flask_perfkit.cache.process.fork import Lock
from flask_perfkit.cache.stats import CacheStats
from flask_perfkit.cache.stores.globs import matches
from flask_perfkit.cache.stores.memory import MemoryBackend
from flask_perfkit.cache.stores.near import Near, NearEntry

ROOM = Path(__file__).parents[2] / "flask_perfkit" / "cache"


def _locks_of(module: Path) -> list[str]:
    """Name the locks of the standard library that a module makes."""
    return [
        ast.unparse(node)
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).split(".")[-1] in ("Lock", "RLock", "Condition", "Semaphore")
        and ast.unparse(node.func).startswith("threading")
    ]


def test_every_lock_of_the_cache_is_one_that_is_renewed_after_a_fork() -> None:
    made = {path.name for path in ROOM.rglob("*.py") if _locks_of(path)}
    assert made == {"fork.py"}


def in_child(function: Callable[[], bool]) -> int | None:
    """Fork, call the function there, and return how the child ended; None: it hangs."""
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if function() else 1)
        finally:
            os._exit(2)
    give_up = time.monotonic() + 10
    while time.monotonic() < give_up:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("near", [False, True])
def test_a_child_that_is_forked_while_every_lock_is_held_goes_on(
    cache: Cache, near: bool, sqlite_engine: sa.Engine
) -> None:
    stats = CacheStats()

    def read() -> Any:
        stats.hit()
        return cache.get_or_create(
            "key", lambda: count_documents(sqlite_engine), depends_on=[Document], near=near
        )

    assert read() == 2
    locks = [found for found in gc.get_objects() if isinstance(found, Lock)]
    assert len(locks) >= 6
    for lock in locks:
        assert lock.acquire(5)
    try:
        ended = in_child(lambda: read() == 2 and cache.delete_matching("*") >= 0)
    finally:
        for lock in locks:
            lock.release()
    assert ended == 0


def _locks_of_the_driver() -> list[Any]:
    """Find what redis-py's objects lock among threads."""
    found = [
        value
        for owner in gc.get_objects()
        if str(type(owner).__module__).startswith("redis.") and hasattr(owner, "__dict__")
        for value in vars(owner).values()
        if hasattr(value, "acquire") and hasattr(value, "release")
    ]
    return list({id(each): each for each in found}.values())


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_that_is_forked_while_threads_are_inside_of_the_driver_goes_on(
    redis_url: str,
) -> None:
    cache = Cache.from_url(redis_url)
    cache.set("key", "value")
    locks = _locks_of_the_driver()
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        for lock in locks:
            assert lock.acquire(timeout=5)
        held.set()
        over.wait(60)
        for lock in locks:
            lock.release()

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(10)
    assert locks
    try:
        ended = in_child(lambda: bool(cache.get("key") == "value"))
    finally:
        over.set()
        thread.join()
    assert ended == 0
    assert cache.get("key") == "value"


def test_a_limit_of_our_own_is_no_fault_of_the_server(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    cache = Cache.from_url(f"{server.url}?max_connections=2")
    creator = Counted(lambda: 1)
    cache.get_or_create("key", creator, depends_on=[Document])

    def read() -> None:
        for _ in range(100):
            cache.get_or_create("key", creator, depends_on=[Document])

    threads = [threading.Thread(target=read) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert creator.runs < 60  # of 1,200; a thread that gets no connection in time goes on without
    assert caplog.messages == []


def test_a_good_value_outlives_a_source_that_fails(
    cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    works = True

    def create() -> str:
        if not works:
            raise ConnectionError("the database is down")
        return "good"

    def read() -> str:
        return cache.get_or_create("key", create, ttl=0.05, stale=30, depends_on=[])

    assert read() == "good"
    works = False
    time.sleep(0.06)
    assert [read() for _ in range(5)] == ["good"] * 5
    (message,) = caplog.messages
    assert "could not be made again (ConnectionError)" in message
    cache.delete("key")
    with pytest.raises(ConnectionError):
        read()


def test_an_early_refresh_that_fails_gives_the_good_value(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    works = True

    def create() -> str:
        time.sleep(0.02)
        if not works:
            raise OSError
        return "good"

    def read() -> str:
        return cache.get_or_create("key", create, ttl=0.5, depends_on=[])

    assert read() == "good"
    works = False
    monkeypatch.setattr(random, "random", lambda: 1 - 1e-16)  # every reader is the one
    assert read() == "good"


def test_an_answer_of_500_is_a_source_that_fails_and_404_is_an_answer(cache: Cache) -> None:
    says = {"status": 200}
    app = Flask(__name__)

    @app.get("/")
    @cache.cached_response(ttl=0.05, stale=30, depends_on=[])
    def index() -> Any:
        if says["status"] == 404:
            abort(404)
        return ("good" if says["status"] == 200 else "bad"), says["status"]

    client = app.test_client()
    assert client.get("/").text == "good"
    time.sleep(0.06)
    says["status"] = 503
    assert [client.get("/").text for _ in range(3)] == ["good"] * 3
    says["status"] = 404
    assert client.get("/").status_code == 404


class Level(enum.IntEnum):
    HIGH = 3


class Word(enum.StrEnum):
    YES = "yes"


class Own(str):
    pass


def test_markup_is_carried() -> None:
    value = decode(*encode({"html": Markup("<b>a</b>"), "set": {1, 2}}))
    assert type(value["html"]) is Markup
    assert value == {"html": Markup("<b>a</b>"), "set": {1, 2}}


@pytest.mark.parametrize(
    "value",
    [
        Level.HIGH,
        Word.YES,
        Own("a"),
        {Level.HIGH: 1},
        {Word.YES: 1},
        {(1, 2): 1},
        {1: "a", "1": "b"},
    ],
    ids=repr,
)
def test_what_json_would_change_is_refused(value: Any) -> None:
    for inside in (value, [value], {"a": [value]}):
        with pytest.raises(NotCacheable):
            encode(inside)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.text().map(Markup) | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(plain)
def test_what_is_taken_comes_back_with_its_types(value: Any) -> None:
    found = decode(*encode(value))
    assert found == value
    assert repr(found) == repr(value)


@pytest.mark.alone
@pytest.mark.parametrize("near", [False, True], ids=["in process", "near"])
def test_limits_count_what_the_process_holds(near: bool) -> None:
    limit = 2_000_000
    tracemalloc.start()
    if near:
        kept = Near(limit=limit)
        kept.alive_until = time.monotonic() + 60
        for number in range(20_000):
            names = ("documents", f"documents.user_id={number}")
            tokens = (f"{number:016x}", f"{number + 1:016x}")
            entry = NearEntry(names, tokens, str(number), False, time.monotonic() + 60.0)
            kept.keep(f"key:{number}", entry, kept.version)
    else:
        backend = MemoryBackend(limit=limit)
        for number in range(20_000):
            backend.replace(f"key:{number}", b"x%d" % number, 60.0)
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 1.3 * limit


def test_a_glob_of_many_stars_takes_no_time() -> None:
    started = time.process_time()
    assert not matches("*a" * 30 + "b", "a" * 3000)
    assert time.process_time() - started < 1


@given(st.text(alphabet="ab*?", max_size=8), st.text(alphabet="ab", max_size=10))
def test_globs_match_as_expressions_do(pattern: str, text: str) -> None:
    import fnmatch

    assert matches(pattern, text) == fnmatch.fnmatchcase(text, pattern)


def write_on_demand(connection: Connection, url: str, database: str) -> None:
    """Open a cache nobody holds, read through another; commit a document when asked."""
    engine = sa.create_engine(database)
    Cache.from_url(url)
    gc.collect()
    reading = Cache.from_url(url)
    while True:
        asked = connection.recv()
        if asked == "write":
            with Session(engine) as session:
                session.add(Document(user_id=1, title="c"))
                session.commit()
        else:
            reading.get_or_create("other", lambda: 1, depends_on=[Document])
        connection.send(count_documents(engine))


def test_no_read_is_stale_after_a_restart_while_a_writer_has_not_noticed(
    server: Server, sqlite_engine: sa.Engine, tmp_path: Path
) -> None:
    cache = Cache.from_url(server.url)
    creator = Counted(lambda: count_documents(sqlite_engine))

    def read() -> int:
        number: int = cache.get_or_create("key", creator, depends_on=[Document])
        return number

    reads = stale = hits = 0
    with running(write_on_demand, server.url, str(sqlite_engine.url)) as (_, writer):

        def ask(what: str) -> int:
            writer.send(what)
            number: int = writer.recv()
            return number

        for _ in range(3):
            ask("read")
            read()
            server.kill()
            for _ in range(4):  # both give the server up
                ask("read")
                read()
            for _ in range(2):  # so that the writer's next attempt is far away
                ask("write")
            server.start()
            while not cache._shared.breaker.try_again():
                time.sleep(0.01)
            for _ in range(10):
                least = ask("write")
                for _ in range(5):
                    runs = creator.runs
                    reads, stale = reads + 1, stale + (read() < least)
                    hits += creator.runs == runs
    print(f"{reads} reads after restarts, {hits} from the cache, {stale} stale", file=sys.stderr)
    assert stale == 0
    assert hits > reads / 2


def test_no_read_is_stale_after_a_freeze_in_which_a_writer_committed(
    server: Server, sqlite_engine: sa.Engine
) -> None:
    cache = Cache.from_url(server.url)
    creator = Counted(lambda: count_documents(sqlite_engine))

    def read() -> int:
        number: int = cache.get_or_create("key", creator, depends_on=[Document])
        return number

    reads = stale = 0
    with running(write_on_demand, server.url, str(sqlite_engine.url)) as (_, writer):
        for _ in range(2):
            read()
            server.freeze()
            read()  # this process notices; the writer does at its commit
            writer.send("write")
            least = writer.recv()
            server.thaw()
            hits = 0
            while hits < 20:
                runs = creator.runs
                reads, stale = reads + 1, stale + (read() < least)
                hits += creator.runs == runs
                time.sleep(0.002)
    print(f"{reads} reads after freezes, {stale} stale", file=sys.stderr)
    assert stale == 0


def test_a_script_that_keeps_no_cache_announces_its_writes(
    server: Server, sqlite_engine: sa.Engine
) -> None:
    cache = Cache.from_url(server.url)
    with running(write_on_demand, server.url, str(sqlite_engine.url)) as (_, writer):
        writer.send("read")
        writer.recv()

        def read() -> Any:
            return cache.get_or_create(
                "key", lambda: count_documents(sqlite_engine), depends_on=[Document]
            )

        assert [read(), read()] == [2, 2]
        writer.send("write")
        assert writer.recv() == 3
        assert read() == 3


def test_a_name_with_any_bytes_breaks_no_listener(server: Server) -> None:
    cache = Cache.from_url(server.url, near=True)
    creator = Counted(lambda: 1)

    def is_near() -> bool:
        cache.get_or_create("key", creator, depends_on=[Document])
        return cache._shared.near.get("key") is not None

    while not is_near():
        time.sleep(0.01)
    alive = cache._shared.near.alive_until
    with redis.Redis(port=server.port) as client:
        client.set(b"perfkit:{t}:\xff\xfe", b"x")
    while cache._shared.near.alive_until <= alive:
        time.sleep(0.01)
    assert is_near()
