from __future__ import annotations

import logging
import time
from typing import Any

import pytest
import sqlalchemy as sa
from cache_models import Counted, Document, User, count_documents, titles
from flask import Flask
from sqlalchemy.orm import Session

from flask_perfkit.cache.cache import Cache
from flask_perfkit.cache.entries.serializer import NotCacheable
from flask_perfkit.cache.stats import cache_stats
from flask_perfkit.config import Settings


def test_the_creator_runs_once(cache: Cache) -> None:
    creator = Counted(lambda: {"answer": 42})
    assert [cache.get_or_create("key", creator, depends_on=[]) for _ in range(3)] == [
        {"answer": 42}
    ] * 3
    assert creator.runs == 1


def test_a_miss_returns_what_a_hit_will(cache: Cache) -> None:
    creator = Counted(lambda: {1: (2, 3)})
    assert cache.get_or_create("key", creator, depends_on=[]) == {"1": [2, 3]}
    assert cache.get_or_create("key", creator, depends_on=[]) == {"1": [2, 3]}


def test_no_caller_can_change_what_another_gets(cache: Cache) -> None:
    cache.get_or_create("key", lambda: [1], depends_on=[]).append(2)
    assert cache.get_or_create("key", lambda: [1], depends_on=[]) == [1]


def test_none_and_empty_values_are_kept(cache: Cache) -> None:
    for number, value in enumerate((None, [], 0, "", False)):
        creator = Counted(lambda value=value: value)
        assert cache.get_or_create(f"key{number}", creator, depends_on=[]) == value
        assert cache.get_or_create(f"key{number}", creator, depends_on=[]) == value
        assert creator.runs == 1


def test_an_exception_of_the_creator_reaches_the_caller_and_is_not_kept(cache: Cache) -> None:
    with pytest.raises(ZeroDivisionError):
        cache.get_or_create("key", lambda: 1 // 0, depends_on=[])
    assert cache.get_or_create("key", lambda: 1, depends_on=[]) == 1


def test_a_value_that_cannot_be_kept_is_refused_each_time(cache: Cache) -> None:
    for _ in range(2):
        with pytest.raises(NotCacheable):
            cache.get_or_create("key", lambda: User(id=1), depends_on=[])


def test_an_entry_ends_with_its_life(cache: Cache) -> None:
    creator = Counted(lambda: 1)
    cache.get_or_create("key", creator, ttl=0.05, depends_on=[])
    time.sleep(0.06)
    cache.get_or_create("key", creator, ttl=0.05, depends_on=[])
    assert creator.runs == 2


def test_get_set_and_delete(cache: Cache) -> None:
    assert cache.get("key") is None
    assert cache.get("key", "default") == "default"
    cache.set("key", [1])
    assert cache.get("key") == [1]
    assert cache.get_or_create("key", lambda: 2, depends_on=[]) == [1]
    assert cache.delete("key", "missing") == 1
    assert cache.get("key") is None


def test_set_ends_with_its_life(cache: Cache) -> None:
    cache.set("key", 1, ttl=0.05)
    time.sleep(0.06)
    assert cache.get("key") is None


def test_get_many_returns_those_that_are_good(cache: Cache) -> None:
    cache.set("a", 1)
    cache.set("b", 2, depends_on=["documents"])
    cache.set("c", None, depends_on=["users"])
    assert cache.get_many(["a", "b", "c", "d", "a"]) == {"a": 1, "b": 2, "c": None}
    cache.invalidate("documents")
    assert cache.get_many(["a", "b", "c"]) == {"a": 1, "c": None}
    assert cache.get_many([]) == {}


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        ("user:*", ["other"]),
        ("user:?", ["user:12", "other"]),
        ("user:[12]", ["user:3", "user:12", "other"]),
        ("user:[^1]", ["user:1", "user:12", "other"]),
        ("user:1", ["user:3", "user:12", "other"]),
        (r"user:\*", ["user:1", "user:3", "user:12", "other"]),
        ("*", []),
        ("nothing*", ["user:1", "user:3", "user:12", "other"]),
    ],
)
def test_delete_matching_drops_what_the_glob_matches(
    cache: Cache, pattern: str, left: list[str]
) -> None:
    keys = ["user:1", "user:3", "user:12", "other"]
    for key in keys:
        cache.set(key, key)
    assert cache.delete_matching(pattern) == len(keys) - len(left)
    assert list(cache.get_many(keys)) == left


def test_delete_matching_leaves_what_is_not_of_the_cache(redis_url: str) -> None:
    import redis

    with redis.Redis.from_url(redis_url) as client:
        client.set("user:1", "of the application")
        cache = Cache.from_url(redis_url)
        cache.set("user:1", 1)
        assert cache.delete_matching("*") == 1
        assert client.get("user:1") == b"of the application"


def test_delete_matching_finds_thousands(cache: Cache) -> None:
    for number in range(1200):
        cache.set(f"page:{number}", number)
    assert cache.delete_matching("page:*") == 1200


def test_a_write_drops_what_depends_on_the_table(cache: Cache, engine: sa.Engine) -> None:
    documents = Counted(lambda: count_documents(engine))
    users = Counted(lambda: 2)
    for _ in range(2):
        assert cache.get_or_create("documents", documents, depends_on=[Document]) == 2
        cache.get_or_create("users", users, depends_on=[User])
    with Session(engine) as session:
        session.add(Document(user_id=1, title="c"))
        session.commit()
    assert cache.get_or_create("documents", documents, depends_on=[Document]) == 3
    cache.get_or_create("users", users, depends_on=[User])
    assert (documents.runs, users.runs) == (2, 1)


def test_a_write_for_another_user_leaves_the_entry_alone(cache: Cache, engine: sa.Engine) -> None:
    creators = {user: Counted(lambda user=user: titles(engine, user)) for user in (1, 2)}

    def read(user: int) -> Any:
        return cache.get_or_create(
            f"titles:{user}", creators[user], depends_on=[Document.user_id == user]
        )

    assert [read(1), read(2), read(1), read(2)] == [["a"], ["b"], ["a"], ["b"]]
    with Session(engine) as session:
        session.get_one(Document, 2).title = "B"
        session.commit()
    assert [read(1), read(2)] == [["a"], ["B"]]
    assert {user: creator.runs for user, creator in creators.items()} == {1: 1, 2: 2}


def test_tables_are_learned_from_what_the_creator_reads(cache: Cache, engine: sa.Engine) -> None:
    creator = Counted(lambda: count_documents(engine))
    assert [cache.get_or_create("key", creator) for _ in range(2)] == [2, 2]
    with Session(engine) as session:
        session.add(User(id=3, name="Cy"))
        session.commit()
    assert cache.get_or_create("key", creator) == 2
    assert creator.runs == 1
    with Session(engine) as session:
        session.add(Document(user_id=1, title="c"))
        session.commit()
    assert cache.get_or_create("key", creator) == 3


def test_a_process_that_starts_takes_over_what_others_learned(
    redis_url: str, engine: sa.Engine
) -> None:
    first, second = Cache.from_url(redis_url), Cache.from_url(redis_url)
    creator = Counted(lambda: count_documents(engine))
    first.get_or_create("key", creator)
    assert second.get_or_create("key", creator) == 2
    assert creator.runs == 1
    with Session(engine) as session:
        session.add(Document(user_id=1, title="c"))
        session.commit()
    assert second.get_or_create("key", creator) == 3


def test_a_cached_call_inside_a_creator_passes_its_tables_on(
    cache: Cache, engine: sa.Engine
) -> None:
    inner = Counted(lambda: count_documents(engine))
    outer = Counted(lambda: [cache.get_or_create("inner", inner), "outer"])
    cache.get_or_create("inner", inner)  # so that the outer one only sees a hit
    assert [cache.get_or_create("outer", outer) for _ in range(2)] == [[2, "outer"]] * 2
    assert (inner.runs, outer.runs) == (1, 1)
    with Session(engine) as session:
        session.add(Document(user_id=1, title="c"))
        session.commit()
    assert cache.get_or_create("outer", outer) == [3, "outer"]


def test_a_creator_may_ask_for_its_own_key(cache: Cache) -> None:
    def creator(depth: int = 3) -> int:
        return 0 if depth == 0 else 1 + cache.get_or_create("key", lambda: creator(depth - 1))

    assert cache.get_or_create("key", creator) == 3


def test_sql_text_is_not_kept_unless_its_tables_are_named(
    cache: Cache, engine: sa.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    def by_text() -> Any:
        with engine.connect() as connection:
            return connection.scalar(sa.text("SELECT count(*) FROM documents"))

    creator = Counted(by_text)
    for _ in range(3):
        cache.get_or_create("text", creator, name="my counter")
    assert creator.runs == 3
    (message,) = caplog.messages
    assert message == (
        "my counter is not cached: it runs SQL text, whose tables are not known; "
        "name them with depends_on=[...]"
    )
    declared = Counted(by_text)
    for _ in range(3):
        cache.get_or_create("declared", declared, depends_on=[Document])
    assert declared.runs == 1


@pytest.mark.parametrize(
    "statement",
    [
        sa.select(sa.func.count()).select_from(sa.text("documents")),
        sa.select(sa.func.count()).select_from(
            sa.join(sa.text("documents"), sa.table("users"), sa.text("true"))
        ),
        sa.select(sa.literal_column("(SELECT count(*) FROM documents)")),
        sa.text("SELECT count(*) FROM documents").columns(sa.column("count")),
        sa.text("SELECT abs(1)"),  # a function may read anything
    ],
    ids=str,
)
def test_text_inside_a_statement_is_not_kept_either(
    cache: Cache, sqlite_engine: sa.Engine, statement: Any
) -> None:
    def read() -> Any:
        with sqlite_engine.connect() as connection:
            return connection.scalar(statement)

    creator = Counted(read)
    for _ in range(2):
        cache.get_or_create("text", creator)
    assert creator.runs == 2


def test_text_that_reads_no_table_is_no_obstacle(cache: Cache, sqlite_engine: sa.Engine) -> None:
    def read() -> Any:
        with sqlite_engine.connect() as connection:
            connection.execute(sa.text("SELECT 1"))
            return list(connection.scalars(sa.select(Document.id).where(sa.text("title = 'a'"))))

    creator = Counted(read)
    assert [cache.get_or_create("ids", creator) for _ in range(2)] == [[1], [1]]
    assert creator.runs == 1


def test_invalidate_drops_by_table_and_by_value(cache: Cache) -> None:
    creators = [Counted(lambda: 1) for _ in range(3)]
    needs: list[list[Any]] = [[Document], [Document.user_id == 1], [Document.user_id == 2]]

    def read() -> list[int]:
        for number, (creator, need) in enumerate(zip(creators, needs, strict=True)):
            cache.get_or_create(f"key{number}", creator, depends_on=need)
        return [creator.runs for creator in creators]

    assert read() == [1, 1, 1]
    cache.invalidate(Document.user_id == 1)
    assert read() == [2, 2, 1]
    cache.invalidate("documents")
    assert read() == [3, 3, 2]
    cache.invalidate(User)
    assert read() == [3, 3, 2]


def test_set_depends_on_tables_too(cache: Cache, engine: sa.Engine) -> None:
    cache.set("key", 1, depends_on=[Document.user_id == 1])
    assert cache.get("key") == 1
    with Session(engine) as session:
        session.delete(session.get_one(Document, 1))
        session.commit()
    assert cache.get("key") is None


def test_stale_gives_out_the_old_value_while_one_caller_makes_it_anew(cache: Cache) -> None:
    inside: list[Any] = []

    def ask() -> Any:
        return cache.get_or_create("key", creator, ttl=0.05, depends_on=["users"], stale=30)

    def create() -> int:
        if creator.runs == 2:
            inside.append(cache.get("key"))
        return creator.runs

    creator = Counted(create)
    assert ask() == 1
    time.sleep(0.06)
    assert ask() == 2
    assert inside == [1]


def test_a_commit_ends_a_stale_value_at_once(cache: Cache) -> None:
    creator = Counted(lambda: creator.runs)

    def ask() -> Any:
        return cache.get_or_create("key", creator, ttl=0.05, depends_on=["users"], stale=30)

    assert ask() == 1
    time.sleep(0.06)
    cache.invalidate("users")
    assert cache.get("key") is None
    assert ask() == 2


def test_a_reader_that_does_not_want_stale_values_gets_none(cache: Cache) -> None:
    creator = Counted(lambda: creator.runs)
    cache.get_or_create("key", creator, ttl=0.05, depends_on=[], stale=30)
    time.sleep(0.06)
    assert cache.get_or_create("key", creator, ttl=0.05, depends_on=[]) == 2


def test_hits_and_misses_are_counted_by_name(cache: Cache) -> None:
    cache_stats.reset()
    for _ in range(4):
        cache.get_or_create("key", lambda: 1, name="pages", depends_on=[])
    cache.get_many(["key", "other"])
    assert cache_stats.snapshot() == {"pages": (3, 1), "default": (1, 1)}
    cache_stats.reset()


def test_settings_open_a_cache(redis_url: str) -> None:
    Cache(Settings(redis_url=redis_url)).set("key", 1)
    assert Cache(Settings(redis_url=redis_url)).get("key") == 1
    assert Cache(Settings()).get("key") is None


def test_two_caches_of_one_process_do_not_mix(redis_url: str, engine: sa.Engine) -> None:
    caches = [
        Cache.from_url(),
        Cache.from_url(),
        Cache.from_url(f"{redis_url}?namespace=a"),
        Cache.from_url(f"{redis_url}?namespace=b"),
    ]
    creator = Counted(lambda: count_documents(engine))
    for _ in range(2):
        for cache in caches:
            cache.get_or_create("key", creator)
    assert creator.runs == 4
    with Session(engine) as session:
        session.add(Document(user_id=1, title="c"))
        session.commit()
    assert [cache.get_or_create("key", creator) for cache in caches] == [3, 3, 3, 3]


@pytest.mark.parametrize("multiprocess", [True, False])
def test_an_in_process_cache_warns_where_several_processes_serve(
    multiprocess: bool, caplog: pytest.LogCaptureFixture
) -> None:
    cache = Cache.from_url()
    app = Flask(__name__)
    for number in range(2):
        with app.test_request_context(environ_overrides={"wsgi.multiprocess": multiprocess}):
            cache.get_or_create(f"key{number}", lambda: 1, depends_on=[])
    warned = [record for record in caplog.records if "PERFKIT_REDIS_URL" in record.message]
    assert len(warned) == int(multiprocess)


def test_nothing_is_logged_when_all_is_well(
    cache: Cache, engine: sa.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "flask_perfkit.cache"):
        test_a_write_for_another_user_leaves_the_entry_alone(cache, engine)
    assert caplog.records == []
