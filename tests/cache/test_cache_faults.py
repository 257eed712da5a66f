"""What the application sees, and what the log says, when the server has a fault.

The rows of the table in ``docs/explanation/cache.md`` come from here.
"""

from __future__ import annotations

import os
import pickle
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from cache_models import Counted, Document, count_documents
from cache_server import Server
from sqlalchemy.orm import Session

from flask_perfkit.cache.cache import Cache

DOCS = Path(__file__).parents[2] / "docs" / "explanation" / "cache.md"


class User:
    """Reads the number of documents through the cache, as a view would."""

    def __init__(self, url: str, engine: sa.Engine) -> None:
        self.cache = Cache.from_url(url)
        self._engine = engine
        self.creator = Counted(lambda: count_documents(engine))

    def read(self) -> int:
        number: int = self.cache.get_or_create("key", self.creator, depends_on=[Document])
        return number

    def write(self) -> int:
        """Add a document and return how many there are."""
        with Session(self._engine) as session:
            session.add(Document(user_id=1, title="c"))
            session.commit()
        return count_documents(self._engine)

    def is_cached(self) -> bool:
        runs = self.creator.runs
        self.read()
        return self.creator.runs == runs

    def wait_until_cached(self) -> None:
        while not self.is_cached():
            time.sleep(0.01)


@pytest.fixture
def user(server: Server, sqlite_engine: sa.Engine) -> User:
    return User(server.url, sqlite_engine)


NOT_USABLE = "The cache's server is not usable ({}: …): values come from their source until it is"
REFUSES = "The cache's server refuses to store ({}: …): values come from their source"
SLOW = "The cache's server is slow (… s a trip): values come from their source until it is faster"
OTHER_FORMAT = "The cache holds an entry of another format; the value is made again"
NO_JSON = "The cache holds an entry that is no JSON; the value is made again"

VALUE, TOKEN = "perfkit:v:key", "perfkit:{t}:documents"


def _put_list(server: Server, key: str) -> None:
    server.client.delete(key)
    server.client.lpush(key, "x")


def _change_password(server: Server) -> None:
    server.client.config_set("requirepass", "another")
    server.client.client_kill_filter(skipme=True, _type="normal")


def _restart(server: Server) -> None:
    server.kill()
    server.start()


def _fill_up_empty(server: Server) -> None:
    server.client.flushall()
    server.fill_up()


def _head(server: Server) -> bytes:
    """Return the head of the entry, which then says that its JSON holds more types."""
    payload: bytes = server.client.get(VALUE)
    return payload[: payload.rindex(b"\n") + 1].replace(b" - ", b" t ", 1)


FAULTS: dict[str, tuple[Callable[[Server], object], bool, str]] = {
    "not there": (Server.kill, False, NOT_USABLE.format("ConnectionError")),
    "frozen": (Server.freeze, False, NOT_USABLE.format("TimeoutError")),
    "wrong password": (_change_password, False, NOT_USABLE.format("AuthenticationError")),
    "full": (_fill_up_empty, False, REFUSES.format("OutOfMemoryError")),
    "restarted, empty": (_restart, True, "nothing"),
    "emptied": (lambda s: s.client.flushall(), True, "nothing"),
    "a list under an entry's key": (lambda s: _put_list(s, VALUE), True, "nothing"),
    "a list under a token's key": (lambda s: _put_list(s, TOKEN), True, "nothing"),
    "garbage under an entry's key": (
        lambda s: s.client.set(VALUE, b"\xff\x00garbage"),
        True,
        OTHER_FORMAT,
    ),
    "a pickle under an entry's key": (
        lambda s: s.client.set(VALUE, pickle.dumps({"a": 1})),
        True,
        OTHER_FORMAT,
    ),
    "garbage in an entry's value": (
        lambda s: s.client.set(VALUE, _head(s) + b'{"perfkit:type":"UUID","value":7}'),
        True,
        NO_JSON,
    ),
    "broken JSON in an entry": (
        lambda s: s.client.set(VALUE, s.client.get(VALUE)[:-1] + b"{"),
        True,
        NO_JSON,
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_server_reaches_nobody(
    fault: str, server: Server, sqlite_engine: sa.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    break_it, is_cached_again, logged = FAULTS[fault]
    user = User(server.url, sqlite_engine)
    assert [user.read(), user.read()] == [2, 2]
    assert user.creator.runs == 1
    break_it(server)
    assert [user.read() for _ in range(20)] == [2] * 20
    assert user.write() == 3
    assert [user.read() for _ in range(20)] == [3] * 20
    assert user.is_cached() == is_cached_again
    assert _without_details(caplog) == ([] if logged == "nothing" else [logged])
    assert _row(fault, is_cached_again, logged) in DOCS.read_text(encoding="utf-8")


def _put_garbage_everywhere(server: Server) -> None:
    """Each key at once, so that nobody writes it in between."""
    for number, key in enumerate(server.client.keys("perfkit:*")):
        with server.client.pipeline() as pipeline:
            pipeline.delete(key)
            pipeline.set(key, b"\xff\x00garbage") if number % 2 else pipeline.lpush(key, "x")
            pipeline.execute()


BREAKS: dict[str, tuple[Callable[[Server], object], Callable[[Server], object]]] = {
    "killed and started": (Server.kill, Server.start),
    "frozen and thawed": (Server.freeze, Server.thaw),
    "full for a while": (_fill_up_empty, lambda s: s.client.config_set("maxmemory", 0)),
    "emptied twice": (lambda s: s.client.flushall(), lambda s: s.client.flushall()),
    "garbage twice": (_put_garbage_everywhere, _put_garbage_everywhere),
}


@pytest.mark.parametrize("name", BREAKS)
def test_readers_at_work_get_no_older_value_when_the_server_breaks_and_is_mended(
    name: str, user: User, server: Server
) -> None:
    break_it, mend_it = BREAKS[name]
    written = [2]
    done = threading.Event()

    def watch() -> list[tuple[int, int]]:
        wrong = []
        while not done.is_set():
            least = written[-1]
            seen = user.read()
            if seen < least:
                wrong.append((seen, least))
        return wrong

    with ThreadPoolExecutor() as pool:
        readers = [pool.submit(watch) for _ in range(3)]
        try:
            for number in range(12):
                if number in (4, 8):
                    (break_it if number == 4 else mend_it)(server)
                written.append(user.write())
        finally:
            done.set()
    assert [reader.result() for reader in readers] == [[], [], []]
    user.wait_until_cached()
    assert user.read() == 14


def _without_details(caplog: pytest.LogCaptureFixture) -> list[str]:
    lines = [re.sub(r"Error: .*\)(?=: values)", "Error: …)", line) for line in caplog.messages]
    return [re.sub(r"\d+\.\d+ s a trip", "… s a trip", line) for line in lines]


def _row(fault: str, is_cached_again: bool, logged: str) -> str:
    """Return the row of the table in the documentation."""
    kept = "cached again" if is_cached_again else "from its source"
    return f"| {fault} | the right value, {kept} | {logged} |"


class SlowPath:
    """A way to a server that holds every answer back for some seconds."""

    def __init__(self, server: Server) -> None:
        self.seconds = 0.0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}/0"
        self._server = server
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self._server.port))
                except OSError:
                    client.close()
                    continue
                for ends in ((client, server, False), (server, client, True)):
                    threading.Thread(target=self._pass_on, args=ends, daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, is_answer: bool) -> None:
        with suppress(OSError), source, target:
            while data := source.recv(65536):
                time.sleep(self.seconds if is_answer else 0)
                target.sendall(data)


@pytest.fixture
def slow_path(server: Server) -> Iterator[SlowPath]:
    path = SlowPath(server)
    yield path
    path.close()


def test_a_slow_server_is_passed_by_until_it_is_faster(
    slow_path: SlowPath, server: Server, sqlite_engine: sa.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    user, other = User(slow_path.url, sqlite_engine), User(server.url, sqlite_engine)
    assert [user.read(), other.read()] == [2, 2]
    slow_path.seconds = 0.12
    assert [user.read() for _ in range(20)] == [2] * 20
    assert user.creator.runs == 1 + 15  # five slow hits, then none
    assert user.write() == 3
    assert other.read() == 3  # a writer waits for the slow server, for the others' sake
    assert [user.read() for _ in range(20)] == [3] * 20
    assert not user.is_cached()
    slow = (
        "The cache's server is slow (… s a trip): values come from their source until it is faster"
    )
    assert _without_details(caplog) == [slow]
    assert _row("slow", False, slow) in DOCS.read_text(encoding="utf-8")
    slow_path.seconds = 0
    user.wait_until_cached()
    assert caplog.messages[1:] == ["The cache's server is usable again"]


def test_a_pickle_is_not_run(user: User, server: Server, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "trap"),)

    user.read()
    for key in server.client.scan_iter():
        server.client.set(key, pickle.dumps(Trap()))
    assert user.read() == 2
    assert not (tmp_path / "trap").exists()


def test_a_frozen_server_costs_one_request_its_timeout(user: User, server: Server) -> None:
    user.read()
    server.freeze()
    user.read()
    waits = []
    for _ in range(200):
        started = time.monotonic()
        user.read()
        waits.append(time.monotonic() - started)
    assert sorted(waits)[len(waits) // 2] < 0.25  # not one of them waited for the server


def test_the_cache_comes_back_with_its_server(
    user: User, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    user.read()
    server.freeze()
    user.read()
    server.thaw()
    user.wait_until_cached()
    assert caplog.messages[-1] == "The cache's server is usable again"
    assert len(caplog.messages) == 2


def test_a_write_that_the_server_could_not_be_told_of_is_told_later(
    user: User, server: Server, sqlite_engine: sa.Engine
) -> None:
    """What was stored before must not be given out when the server is back."""
    other = User(f"{server.url}?", sqlite_engine)  # like another process
    assert [user.read(), user.read()] == [2, 2]
    server.freeze()
    assert user.write() == 3
    assert user.read() == 3
    server.thaw()
    user.wait_until_cached()
    assert user.read() == 3
    assert other.read() == 3


def test_a_server_restored_from_a_snapshot_gives_out_nothing_of_it(
    server: Server, sqlite_engine: sa.Engine
) -> None:
    """Its tokens are those of the snapshot, and so look current."""
    user = User(server.url, sqlite_engine)
    assert [user.read(), user.read()] == [2, 2]
    server.client.save()
    assert user.write() == 3
    assert user.read() == 3
    server.kill()
    server.start()
    assert server.client.exists("perfkit:v:key")
    user.wait_until_cached()
    assert user.read() == 3


def test_a_full_server_still_drops_what_was_written(
    user: User, server: Server, sqlite_engine: sa.Engine
) -> None:
    assert user.read() == 2
    server.fill_up()
    assert user.is_cached()
    assert user.write() == 3
    assert user.read() == 3


def test_a_read_only_replica_is_not_taken_for_a_cache(
    user: User, server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    assert user.read() == 2
    server.client.replicaof("127.0.0.1", "1")
    assert user.write() == 3
    assert [user.read(), user.read()] == [3, 3]
    assert "ReadOnlyError" in caplog.messages[0]


def test_set_get_and_delete_do_not_raise_without_a_server(sqlite_engine: sa.Engine) -> None:
    cache = Cache.from_url("redis://127.0.0.1:1/0")
    cache.set("key", 1)
    assert cache.get("key", "default") == "default"
    assert cache.get_many(["key"]) == {}
    assert cache.delete("key") == 0
    assert cache.delete_matching("*") == 0
    cache.invalidate(Document)


@pytest.mark.parametrize("scheme", ["redis+cluster", "redis+sentinel"])
def test_a_group_of_servers_that_is_not_there_at_the_start_reaches_nobody(
    scheme: str, sqlite_engine: sa.Engine
) -> None:
    user = User(f"{scheme}://127.0.0.1:1/service", sqlite_engine)
    assert [user.read(), user.write(), user.read()] == [2, 3, 3]


def test_half_a_character_in_a_key_is_no_fault(
    user: User, caplog: pytest.LogCaptureFixture
) -> None:
    user.cache.set("name:\ud800", 1)
    assert user.cache.get("name:\ud800") == 1
    assert user.cache.delete_matching("name:\ud800*") == 1
    assert caplog.messages == []


def test_what_interrupts_a_read_does_not_shift_the_answers(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker's own timeout may strike between question and answer."""
    from redis.connection import AbstractConnection

    user.cache.set("mine", "mine")
    user.cache.set("other", "other")
    assert user.cache.get("mine") == "mine"

    def interrupt(self: Any, **_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(AbstractConnection, "read_response", interrupt)
        with pytest.raises(KeyboardInterrupt):
            user.cache.get("mine")
    assert user.cache.get("other") == "other"


def test_a_server_that_may_not_be_asked_for_its_run_is_used_and_named_in_the_log(
    server: Server, sqlite_engine: sa.Engine, caplog: pytest.LogCaptureFixture
) -> None:
    server.client.acl_setuser(
        "limited", enabled=True, passwords=["+secret"], keys=["*"], commands=["+@all", "-info"]
    )
    user = User(server.url.replace("//", "//limited:secret@"), sqlite_engine)
    user.read()
    assert user.is_cached()
    assert "may not send INFO to its server" in caplog.messages[0]
    assert "secret" not in caplog.text
