from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import math
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flask_perfkit.errors import ExtraMissing
from flask_perfkit.measuring.timing import memory_tracker, timeit, timer, track_memory


class Clock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class Memory:
    """The process as a test says it is; starts at 100 MB."""

    def __init__(self) -> None:
        self.bytes = 100 * 1024 * 1024

    def __call__(self) -> int:
        return self.bytes

    def grow(self, mb: float) -> None:
        self.bytes += round(mb * 1024 * 1024)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("flask_perfkit.measuring.timing.perf_counter", clock)
    return clock


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Memory:
    memory = Memory()
    monkeypatch.setattr("flask_perfkit.measuring.timing.resident_bytes", memory)
    return memory


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.INFO, logger="flask_perfkit"):
        yield caplog


class Raising(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise OSError("the disk is full")


@pytest.fixture
def broken_log(log: pytest.LogCaptureFixture) -> Iterator[None]:
    handler = Raising()
    logger = logging.getLogger("flask_perfkit")
    logger.addHandler(handler)
    yield
    logger.removeHandler(handler)


# Blocks


def test_a_timer_gives_and_logs_the_seconds_of_its_block(
    clock: Clock, log: pytest.LogCaptureFixture
) -> None:
    with timer("process_document") as t:
        clock.advance(1.234)
    clock.advance(10)
    assert t.duration == pytest.approx(1.234)
    assert log.messages == ["process_document took 1.234s"]
    assert log.records[0].levelno == logging.INFO


def test_a_timer_can_be_read_while_it_runs(clock: Clock) -> None:
    t = timer("import")
    assert t.duration == 0.0
    with t:
        clock.advance(2)
        assert t.duration == 2.0
        clock.advance(3)
    assert t.duration == 5.0


def test_a_timer_can_be_used_again(clock: Clock) -> None:
    t = timer("import")
    with t:
        clock.advance(2)
    with t:
        clock.advance(3)
        assert t.duration == 3.0
        clock.advance(4)
    assert t.duration == 7.0


def test_nested_timers_keep_their_own_time(clock: Clock, log: pytest.LogCaptureFixture) -> None:
    with timer("outer"):
        clock.advance(1)
        with timer("inner"):
            clock.advance(2)
    assert log.messages == ["inner took 2.000s", "outer took 3.000s"]


def test_a_failing_block_is_timed_and_its_exception_passes(
    clock: Clock, log: pytest.LogCaptureFixture
) -> None:
    def block() -> None:
        with timer("import"):
            clock.advance(0.5)
            raise KeyError("title")

    with pytest.raises(KeyError, match="title"):
        block()
    assert log.messages == ["import took 0.500s"]


@pytest.mark.parametrize(
    ("grown", "message"),
    [
        (50, "load_large_file: 100.0MB -> 150.0MB (+50.0MB)"),
        (-25.5, "load_large_file: 100.0MB -> 74.5MB (-25.5MB)"),
        (0, "load_large_file: 100.0MB -> 100.0MB (+0.0MB)"),
        (-0.04, "load_large_file: 100.0MB -> 100.0MB (+0.0MB)"),
    ],
)
def test_a_memory_tracker_gives_and_logs_the_mb_of_its_block(
    memory: Memory, log: pytest.LogCaptureFixture, grown: float, message: str
) -> None:
    with memory_tracker("load_large_file") as m:
        memory.grow(grown)
    memory.grow(10)
    assert m.before == 100.0
    assert m.after == pytest.approx(100 + grown, abs=1e-6)
    assert m.delta == pytest.approx(grown, abs=1e-6)
    assert log.messages == [message]


def test_memory_that_a_block_really_takes_is_seen() -> None:
    with memory_tracker("load") as m:
        kept = b"x" * (64 * 1024 * 1024)
    assert len(kept) == 64 * 1024 * 1024
    assert m.before > 5
    assert 60 < m.delta < 70


@pytest.fixture
def unreadable_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> int:
        raise OSError("too many open files")

    monkeypatch.setattr("flask_perfkit.measuring.timing.resident_bytes", fail)


@pytest.mark.usefixtures("unreadable_memory")
def test_a_failing_reading_leaves_the_measured_code_alone(log: pytest.LogCaptureFixture) -> None:
    @track_memory
    def load() -> str:
        return "done"

    with memory_tracker("load") as m:
        assert load() == "done"
    assert math.isnan(m.delta)
    assert set(log.messages) == {"the memory of the process could not be read"}
    assert "too many open files" in log.text


@pytest.fixture
def no_way_to_read_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("flask_perfkit.system.figures._PROC", tmp_path)
    monkeypatch.setitem(sys.modules, "psutil", None)


@pytest.mark.usefixtures("no_way_to_read_memory")
def test_memory_without_proc_and_psutil_names_the_extra() -> None:
    with pytest.raises(ExtraMissing, match=r"flask-perfkit\[system\]"):
        track_memory(len)
    ran = []
    with pytest.raises(ExtraMissing, match=r"flask-perfkit\[system\]"), memory_tracker("load"):
        ran.append(True)
    assert ran == []


# Decorators


def test_timeit_bare(clock: Clock, log: pytest.LogCaptureFixture) -> None:
    @timeit
    def process_document(title: str, *, size: int) -> tuple[str, int]:
        """Process it."""
        clock.advance(1.234)
        return title, size

    assert process_document("report", size=3) == ("report", 3)
    assert log.messages == ["process_document took 1.234s"]
    assert process_document.__name__ == "process_document"
    assert process_document.__doc__ == "Process it."
    assert list(inspect.signature(process_document).parameters) == ["title", "size"]


def test_timeit_with_arguments(clock: Clock, log: pytest.LogCaptureFixture) -> None:
    results: list[tuple[str, float]] = []

    @timeit(name="documents.process", on_result=lambda *result: results.append(result))
    def process_document() -> None:
        clock.advance(2)

    process_document()
    process_document()
    assert log.messages == ["documents.process took 2.000s"] * 2
    assert results == [("documents.process", 2.0)] * 2


def test_timeit_with_empty_parentheses(clock: Clock, log: pytest.LogCaptureFixture) -> None:
    @timeit()
    def process_document() -> None:
        clock.advance(1)

    process_document()
    assert log.messages == ["process_document took 1.000s"]


def test_track_memory_bare_and_with_arguments(
    memory: Memory, log: pytest.LogCaptureFixture
) -> None:
    results: list[tuple[str, float]] = []

    @track_memory
    def load_large_file() -> None:
        memory.grow(50)

    @track_memory(name="drop", on_result=lambda *result: results.append(result))
    def drop_large_file() -> None:
        memory.grow(-50)

    load_large_file()
    drop_large_file()
    assert log.messages == [
        "load_large_file: 100.0MB -> 150.0MB (+50.0MB)",
        "drop: 150.0MB -> 100.0MB (-50.0MB)",
    ]
    assert results == [("drop", -50.0)]


def test_both_decorators_together(
    clock: Clock, memory: Memory, log: pytest.LogCaptureFixture
) -> None:
    @timeit
    @track_memory
    def load() -> None:
        clock.advance(1)
        memory.grow(1)

    load()
    assert log.messages == ["load: 100.0MB -> 101.0MB (+1.0MB)", "load took 1.000s"]


def test_a_failing_call_is_logged_and_its_exception_passes(
    clock: Clock, log: pytest.LogCaptureFixture
) -> None:
    @timeit
    def process() -> None:
        clock.advance(1)
        raise KeyError("title")

    with pytest.raises(KeyError, match="title"):
        process()
    assert log.messages == ["process took 1.000s"]


def test_a_recursive_function_logs_each_call(clock: Clock, log: pytest.LogCaptureFixture) -> None:
    @timeit
    def walk(depth: int) -> None:
        clock.advance(1)
        if depth > 1:
            walk(depth - 1)

    walk(3)
    assert log.messages == ["walk took 1.000s", "walk took 2.000s", "walk took 3.000s"]


def test_methods_in_every_order_of_decorators(clock: Clock, log: pytest.LogCaptureFixture) -> None:
    class Archive:
        @timeit
        def store(self) -> type:
            clock.advance(1)
            return type(self)

        @timeit
        @classmethod
        def outside_class(cls) -> type:
            clock.advance(2)
            return cls

        @classmethod
        @timeit
        def inside_class(cls) -> type:
            clock.advance(3)
            return cls

        @timeit(name="outer")
        @staticmethod
        def outside_static(value: int) -> int:
            clock.advance(4)
            return value

        @staticmethod
        @timeit
        def inside_static(value: int) -> int:
            clock.advance(5)
            return value

    class Cellar(Archive):
        pass

    assert Cellar().store() is Cellar
    assert Cellar.outside_class() is Cellar
    assert Cellar().inside_class() is Cellar
    assert Cellar.outside_static(7) == 7
    assert Cellar().inside_static(8) == 8
    assert log.messages == [
        "store took 1.000s",
        "outside_class took 2.000s",
        "inside_class took 3.000s",
        "outer took 4.000s",
        "inside_static took 5.000s",
    ]


def test_a_partial_is_measured_under_the_name_given(
    clock: Clock, log: pytest.LogCaptureFixture
) -> None:
    nap = timeit(functools.partial(clock.advance, 2), name="nap")
    nap()
    assert log.messages == ["nap took 2.000s"]


@pytest.mark.parametrize("decorator", [timeit, track_memory])
@pytest.mark.parametrize("wrong", ["load", 3, property(len)])
def test_what_is_no_function_is_refused(decorator: Callable[[Any], Any], wrong: object) -> None:
    with pytest.raises(TypeError, match="is no function; name and on_result go by keyword"):
        decorator(wrong)


# Coroutines


def test_a_coroutine_function_stays_one_and_is_timed_to_its_end(
    clock: Clock, log: pytest.LogCaptureFixture
) -> None:
    @timeit
    async def fetch(value: int) -> int:
        clock.advance(1)
        await asyncio.sleep(0)
        clock.advance(2)
        return value

    assert inspect.iscoroutinefunction(fetch)
    assert asyncio.run(fetch(7)) == 7
    assert log.messages == ["fetch took 3.000s"]


def test_a_coroutine_method_below_and_above_staticmethod(
    clock: Clock, log: pytest.LogCaptureFixture
) -> None:
    class Client:
        @timeit
        @staticmethod
        async def above() -> None:
            clock.advance(1)

        @classmethod
        @timeit
        async def below(cls) -> None:
            clock.advance(2)

    asyncio.run(Client.above())
    asyncio.run(Client.below())
    assert inspect.iscoroutinefunction(Client.above)
    assert log.messages == ["above took 1.000s", "below took 2.000s"]


def test_a_cancelled_coroutine_is_logged(clock: Clock, log: pytest.LogCaptureFixture) -> None:
    @timeit
    async def wait() -> None:
        clock.advance(1)
        await asyncio.sleep(60)

    async def cancel() -> None:
        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancel())
    assert log.messages == ["wait took 1.000s"]


def test_tasks_that_overlap_keep_their_own_time(
    clock: Clock, log: pytest.LogCaptureFixture
) -> None:
    async def step(turns: int) -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
            clock.advance(1)

    async def run() -> None:
        # One turn each, in order: a1 b1 a2 b2, then b3 alone.
        await asyncio.gather(timeit(step, name="a")(2), timeit(step, name="b")(3))

    asyncio.run(run())
    assert log.messages == ["a took 3.000s", "b took 5.000s"]


# Generators


def test_a_generator_function_stays_one_and_is_timed_from_first_step_to_end(
    clock: Clock, log: pytest.LogCaptureFixture
) -> None:
    @timeit
    def rows() -> Iterator[int]:
        clock.advance(1)
        yield 1
        clock.advance(2)
        yield 2
        clock.advance(4)

    assert inspect.isgeneratorfunction(rows)
    steps = rows()
    clock.advance(100)
    assert next(steps) == 1
    assert log.messages == []
    assert list(steps) == [2]
    assert log.messages == ["rows took 7.000s"]


def test_a_generator_keeps_send_throw_and_return(log: pytest.LogCaptureFixture) -> None:
    @timeit
    def talk() -> Any:
        received = yield "ready"
        try:
            yield received * 2
        except KeyError as error:
            yield f"caught {error}"
        return "done"

    talking = talk()
    assert next(talking) == "ready"
    assert talking.send(21) == 42
    assert talking.throw(KeyError("title")) == "caught 'title'"
    with pytest.raises(StopIteration) as stop:
        next(talking)
    assert stop.value.value == "done"
    assert len(log.messages) == 1


def test_a_generator_that_is_closed_early_cleans_up_and_is_logged(
    clock: Clock, log: pytest.LogCaptureFixture
) -> None:
    cleaned = []

    @timeit
    def rows() -> Iterator[int]:
        try:
            clock.advance(1)
            yield 1
            yield 2
        finally:
            cleaned.append(True)

    steps: Any = rows()
    next(steps)
    steps.close()
    assert cleaned == [True]
    assert log.messages == ["rows took 1.000s"]


def test_a_generator_that_never_started_is_not_logged(log: pytest.LogCaptureFixture) -> None:
    @timeit
    def rows() -> Any:
        yield 1

    rows().close()
    assert log.messages == []


def test_a_failing_generator_is_logged_and_its_exception_passes(
    clock: Clock, log: pytest.LogCaptureFixture
) -> None:
    @timeit
    def rows() -> Iterator[int]:
        yield 1
        clock.advance(1)
        raise KeyError("title")

    with pytest.raises(KeyError, match="title"):
        list(rows())
    assert log.messages == ["rows took 1.000s"]


def test_memory_of_a_generator_is_tracked_to_its_end(
    memory: Memory, log: pytest.LogCaptureFixture
) -> None:
    @track_memory
    def rows() -> Iterator[int]:
        memory.grow(10)
        yield 1
        memory.grow(20)

    assert list(rows()) == [1]
    assert log.messages == ["rows: 100.0MB -> 130.0MB (+30.0MB)"]


# Async generators


def test_an_async_generator_function_stays_one_and_is_timed_to_its_end(
    clock: Clock, log: pytest.LogCaptureFixture
) -> None:
    @timeit
    async def rows() -> Any:
        clock.advance(1)
        yield 1
        await asyncio.sleep(0)
        clock.advance(2)
        yield 2
        clock.advance(4)

    async def run() -> list[int]:
        steps = rows()
        clock.advance(100)
        return [row async for row in steps]

    assert inspect.isasyncgenfunction(rows)
    assert asyncio.run(run()) == [1, 2]
    assert log.messages == ["rows took 7.000s"]


def test_an_async_generator_keeps_asend_and_athrow(log: pytest.LogCaptureFixture) -> None:
    @timeit
    async def talk() -> Any:
        received = yield "ready"
        try:
            yield received * 2
        except KeyError as error:
            yield f"caught {error}"
        yield "still here"

    async def run() -> None:
        talking = talk()
        assert await anext(talking) == "ready"
        assert await talking.asend(21) == 42
        assert await talking.athrow(KeyError("title")) == "caught 'title'"
        assert await anext(talking) == "still here"
        with pytest.raises(ZeroDivisionError):
            await talking.athrow(ZeroDivisionError())
        with pytest.raises(StopAsyncIteration):
            await anext(talking)

    asyncio.run(run())
    assert len(log.messages) == 1


def test_an_async_generator_that_is_closed_early_cleans_up_and_is_logged(
    clock: Clock, log: pytest.LogCaptureFixture
) -> None:
    cleaned = []

    @timeit
    async def rows() -> Any:
        try:
            clock.advance(1)
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
            cleaned.append(True)

    async def run() -> None:
        steps = rows()
        await anext(steps)
        await steps.aclose()
        assert [row async for row in steps] == []

    asyncio.run(run())
    assert cleaned == [True]
    assert log.messages == ["rows took 1.000s"]


def test_a_failing_async_generator_is_logged_and_its_exception_passes(
    clock: Clock, log: pytest.LogCaptureFixture
) -> None:
    @timeit
    async def rows() -> Any:
        yield 1
        clock.advance(1)
        raise KeyError("title")

    async def run() -> None:
        async for _ in rows():
            pass

    with pytest.raises(KeyError, match="title"):
        asyncio.run(run())
    assert log.messages == ["rows took 1.000s"]


# Faults that must not reach the measured code


def test_a_failing_on_result_is_logged_and_dropped(
    clock: Clock, log: pytest.LogCaptureFixture
) -> None:
    def fail(name: str, seconds: float) -> None:
        raise ConnectionError("statsd is gone")

    @timeit(on_result=fail)
    def process() -> str:
        clock.advance(1)
        return "done"

    assert process() == "done"
    assert log.messages == ["process took 1.000s", "on_result of process failed"]
    assert "statsd is gone" in log.text


@pytest.mark.usefixtures("broken_log")
@pytest.mark.parametrize("decorator", [timeit, track_memory])
def test_a_logging_handler_that_raises_is_not_noticed(decorator: Callable[..., Any]) -> None:
    names = []

    def fail(name: str, value: float) -> None:
        names.append(name)
        raise ConnectionError("statsd is gone")

    @decorator(on_result=fail)
    def process() -> str:
        return "done"

    @decorator(on_result=fail)
    def broken() -> None:
        raise KeyError("title")

    assert process() == "done"
    with pytest.raises(KeyError, match="title"):
        broken()
    assert names == ["process", "broken"]


def test_threads_lose_no_result() -> None:
    results: list[str] = []

    @timeit(on_result=lambda name, seconds: results.append(name))
    def process() -> None:
        pass

    def work() -> None:
        for _ in range(200):
            process()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == ["process"] * 1600
