"""Coroutine functions: one creator a key across tasks, threads and processes."""

from __future__ import annotations

import asyncio
import threading
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from cache_models import Document, fill
from cache_processes import running
from flask import Flask
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from flask_perfkit.cache.cache import Cache


def slow_count(cache: Cache, runs: list[int]) -> Any:
    @cache.cached(depends_on=[])
    async def count(number: int) -> int:
        runs.append(number)
        await asyncio.sleep(0.03)
        return number

    return count


def test_one_of_fifty_tasks_runs_the_creator(cache: Cache) -> None:
    runs: list[int] = []
    count = slow_count(cache, runs)

    async def main() -> list[int]:
        return await asyncio.gather(*(count(number % 2) for number in range(50)))

    assert asyncio.run(main()) == [number % 2 for number in range(50)]
    assert sorted(runs) == [0, 1]


def test_one_of_several_loops_in_threads_runs_the_creator(cache: Cache) -> None:
    runs: list[int] = []
    count = slow_count(cache, runs)
    found: list[list[int]] = []

    async def main() -> list[int]:
        return await asyncio.gather(*(count(7) for _ in range(5)))

    threads = [threading.Thread(target=lambda: found.append(asyncio.run(main()))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [[7] * 5] * 4
    assert runs == [7]


def count_in_process(connection: Connection, url: str, path: str) -> None:
    cache = Cache.from_url(url)

    async def create() -> int:
        with Path(path).open("a") as file:
            file.write("run\n")
        await asyncio.sleep(0.2)
        return 42

    async def main() -> list[int]:
        ways = (cache.get_or_await("key", create, depends_on=[]) for _ in range(4))
        return await asyncio.gather(*ways)

    cache.get("other")
    connection.recv()
    connection.send(asyncio.run(main()))


def test_one_of_several_processes_runs_the_creator(redis_url: str, tmp_path: Path) -> None:
    path = tmp_path / "runs"
    patient = f"{redis_url}?socket_timeout=5&socket_connect_timeout=5"
    with (
        running(count_in_process, patient, str(path)) as (_, one),
        running(count_in_process, patient, str(path)) as (_, other),
    ):
        for connection in (one, other):
            connection.send("go")
        assert [connection.recv() for connection in (one, other)] == [[42] * 4] * 2
    assert path.read_text() == "run\n"


def test_the_loop_runs_on_while_a_task_waits_for_a_thread(cache: Cache) -> None:
    entered, leave = threading.Event(), threading.Event()

    def create() -> int:
        entered.set()
        leave.wait(60)
        return 1

    def in_thread() -> None:
        cache.get_or_create("key", create, depends_on=[])

    async def never() -> int:
        raise AssertionError

    async def main() -> int:
        waiting = asyncio.create_task(cache.get_or_await("key", never, depends_on=[]))
        for _ in range(5):
            await asyncio.sleep(0.01)
        leave.set()
        return await waiting

    thread = threading.Thread(target=in_thread)
    thread.start()
    assert entered.wait(60)
    assert asyncio.run(main()) == 1
    thread.join(60)


def test_an_error_and_a_cancelled_task_leave_no_lock(cache: Cache) -> None:
    async def fail() -> int:
        raise ZeroDivisionError

    async def hang() -> int:
        await asyncio.sleep(60)
        return 0

    async def good() -> int:
        return 1

    async def main() -> int:
        with pytest.raises(ZeroDivisionError):
            await cache.get_or_await("key", fail, depends_on=[])
        task = asyncio.create_task(cache.get_or_await("key", hang, depends_on=[]))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await asyncio.wait_for(cache.get_or_await("key", good, depends_on=[]), 2)

    assert asyncio.run(main()) == 1


def test_its_tables_are_learned_and_a_commit_drops_it(cache: Cache, tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'test.db'}")
    fill(engine)
    reading = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'test.db'}")
    runs: list[int] = []

    @cache.cached
    async def titles(user_id: int) -> list[str]:
        runs.append(user_id)
        async with AsyncSession(reading) as session:
            query = sa.select(Document.title).where(Document.user_id == user_id)
            return list(await session.scalars(query))

    async def main() -> list[list[str]]:
        found = [await titles(1), await titles(1)]
        with Session(engine) as session:
            session.get_one(Document, 1).title = "new"
            session.commit()
        found.append(await titles(1))
        await reading.dispose()
        return found

    assert asyncio.run(main()) == [["a"], ["a"], ["new"]]
    assert runs == [1, 1]
    engine.dispose()


def test_an_async_view_awaits_a_cached_function(cache: Cache) -> None:
    runs: list[int] = []
    count = slow_count(cache, runs)
    app = Flask(__name__)

    @app.get("/")
    async def index() -> str:
        return str(await count(3))

    client = app.test_client()
    assert [client.get("/").text for _ in range(2)] == ["3", "3"]
    assert runs == [3]
