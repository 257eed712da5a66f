"""Hot entries in the process, kept true by the server's pushes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import pytest
import redis
import sqlalchemy as sa
from cache_models import Counted, Document, count_documents
from cache_processes import running
from cache_server import Server
from sqlalchemy.orm import Session

from flask_perfkit.cache.cache import Cache
from flask_perfkit.cache.stores.near import Near, NearEntry


def wait_until(condition: Callable[[], Any]) -> None:
    while not condition():
        time.sleep(0.002)


class Reader:
    """Reads a key through the near-cache and knows whether that needed the network."""

    def __init__(self, url: str, creator: Callable[[], Any], depends_on: Any = (Document,)) -> None:
        self.cache = Cache.from_url(url, near=True)
        self._url = url
        self._creator = creator
        self._depends_on = depends_on

    def read(self) -> Any:
        return self.cache.get_or_create("key", self._creator, depends_on=self._depends_on)

    def is_near(self) -> bool:
        """Say whether a read goes without a command to the server."""
        with redis.Redis.from_url(self._url) as client:
            before = client.info("commandstats").get("cmdstat_mget", {"calls": 0})["calls"]
            self.read()
            return client.info("commandstats")["cmdstat_mget"]["calls"] == before

    def wait_until_near(self) -> None:
        wait_until(self.is_near)


def add_document(engine: sa.Engine) -> None:
    with Session(engine) as session:
        session.add(Document(user_id=1, title="c"))
        session.commit()


def test_a_hot_entry_needs_no_network(redis_url: str) -> None:
    reader = Reader(redis_url, Counted(lambda: [1, 2]))
    reader.wait_until_near()
    assert reader.read() == [1, 2]


def test_near_entries_cannot_be_changed_by_who_gets_them(redis_url: str) -> None:
    reader = Reader(redis_url, lambda: [1])
    reader.wait_until_near()
    reader.read().append(2)
    assert reader.read() == [1]


def test_a_commit_of_this_process_is_seen_at_once(redis_url: str, sqlite_engine: sa.Engine) -> None:
    reader = Reader(redis_url, lambda: count_documents(sqlite_engine))
    for number in range(2, 6):
        reader.wait_until_near()
        assert reader.read() == number
        add_document(sqlite_engine)
        assert reader.read() == number + 1


def test_a_session_with_changes_of_its_own_passes_it_by(
    redis_url: str, sqlite_engine: sa.Engine
) -> None:
    creator = Counted(lambda: 1)
    reader = Reader(redis_url, creator)
    reader.wait_until_near()
    with Session(sqlite_engine) as session:
        session.add(Document(user_id=1, title="c"))
        reader.read()
        assert creator.runs == 2
    reader.read()
    assert creator.runs == 2


def change(_connection: object, url: str, method: str, argument: str) -> None:
    getattr(Cache.from_url(url), method)(argument)


@pytest.mark.parametrize(
    ("method", "argument", "matters"),
    [
        ("invalidate", "users", False),
        ("invalidate", "documents", True),
        ("delete", "other", False),
        ("delete", "key", True),
        ("delete_matching", "k*", True),
    ],
)
def test_a_change_by_another_process_arrives(
    redis_url: str, method: str, argument: str, matters: bool
) -> None:
    creator = Counted(lambda: 1)
    reader = Reader(redis_url, creator)
    reader.wait_until_near()
    with running(change, redis_url, method, argument) as (process, _):
        process.join()
        assert process.exitcode == 0
    if matters:
        wait_until(lambda: reader.read() and creator.runs == 2)
    else:
        assert reader.is_near()
        assert creator.runs == 1


def test_a_value_set_by_another_process_replaces_the_near_one(redis_url: str) -> None:
    reader = Reader(redis_url, lambda: "old", depends_on=[])
    reader.wait_until_near()
    Cache.from_url(f"{redis_url}?").set("key", "new")
    wait_until(lambda: reader.read() == "new")


def test_a_near_entry_ends_with_its_life(redis_url: str) -> None:
    creator = Counted(lambda: 1)
    cache = Cache.from_url(redis_url, near=True)
    cache.get_or_create("other", lambda: 1)
    for _ in range(100):
        cache.get_or_create("key", creator, ttl=0.3)
        time.sleep(0.01)
    assert creator.runs > 1


def test_a_server_that_falls_silent_is_not_trusted(
    server: Server, sqlite_engine: sa.Engine
) -> None:
    creator = Counted(lambda: count_documents(sqlite_engine))
    reader = Reader(server.url, creator)
    reader.wait_until_near()
    runs = creator.runs
    server.freeze()
    wait_until(lambda: reader.read() and creator.runs > runs)
    assert not reader.cache._shared.near.get("key")


def test_a_broken_connection_is_made_again_and_nothing_kept_meanwhile(
    server: Server,
) -> None:
    creator = Counted(lambda: 1)
    reader = Reader(server.url, creator)
    reader.wait_until_near()
    with redis.Redis.from_url(server.url) as client:
        version = reader.cache._shared.near.version
        client.client_kill_filter(skipme=True)
        wait_until(lambda: reader.cache._shared.near.version != version)
        client.set("perfkit:{t}:documents", "changed while nobody listened")
    reader.wait_until_near()
    assert creator.runs > 1


def test_an_emptied_server_empties_what_is_near(redis_url: str) -> None:
    creator = Counted(lambda: 1)
    reader = Reader(redis_url, creator)
    reader.wait_until_near()
    runs = creator.runs
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
    wait_until(lambda: reader.read() and creator.runs > runs)


def test_a_forked_child_trusts_nothing_until_it_listens_itself(redis_url: str) -> None:
    creator = Counted(lambda: 1)
    reader = Reader(redis_url, creator)
    reader.wait_until_near()
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            kept = reader.cache._shared.near.get("key") is not None
            reader.wait_until_near()
            os.write(writable, b"kept" if kept else b"emptied")
        finally:
            os._exit(0)
    assert os.read(readable, 10) == b"emptied"
    assert os.waitpid(child, 0)[1] == 0
    assert reader.is_near()


def test_inside_a_creator_the_near_entry_is_not_used(
    redis_url: str, sqlite_engine: sa.Engine
) -> None:
    """It may lack a commit that is still on its way, and the outer entry would keep that."""
    reader = Reader(redis_url, lambda: 1)
    reader.wait_until_near()
    with redis.Redis.from_url(redis_url) as client:
        client.config_resetstat()
        reader.cache.get_or_create("outer", reader.read, depends_on=["users"])
        assert client.info("commandstats")["cmdstat_mget"]["calls"] == 2


def test_a_cache_in_the_process_takes_near_for_granted() -> None:
    creator = Counted(lambda: 1)
    cache = Cache.from_url(near=True)
    for _ in range(2):
        cache.get_or_create("key", creator, depends_on=[])
    assert creator.runs == 1


def entry(*names: str, text: str = "1") -> NearEntry:
    return NearEntry(names, ("token",) * len(names), text, False, time.monotonic() + 60)


@pytest.fixture
def near() -> Near:
    near = Near(limit=1300)  # two entries of one token each, with what they take
    near.alive_until = time.monotonic() + 60
    return near


def test_a_near_entry_lasts_until_one_of_its_tokens_changes(near: Near) -> None:
    near.keep("key", entry("a", "b"), near.version)
    near.forget(["c"])
    assert near.get("key") is not None
    near.forget(["b"])
    assert near.get("key") is None


def test_an_entry_fetched_across_a_change_is_not_kept(near: Near) -> None:
    version = near.version
    near.forget(["c"])
    near.keep("key", entry("a"), version)
    assert near.get("key") is None


def test_nothing_near_is_good_while_no_push_can_arrive(near: Near) -> None:
    near.keep("key", entry("a"), near.version)
    near.alive_until = 0.0
    assert near.get("key") is None


def test_the_oldest_entries_go_when_there_are_too_many(near: Near) -> None:
    for number in range(4):
        near.keep(f"key{number}", entry(text="x" * 40), near.version)
    assert [near.get(f"key{number}") is not None for number in range(4)] == [
        False,
        False,
        True,
        True,
    ]
