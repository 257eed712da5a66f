"""The steps of a miss at which somebody has to wait, and who takes them: a thread or a task.

The way itself is written once, as a generator that yields what it waits for. A thread sleeps
and blocks; a task lets the others of its event loop run meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from flask_perfkit.cache.process.fork import Lock

_FIRST_PAUSE = 0.002
_LONGEST_PAUSE = 0.02

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait for so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Acquire:
    """Take the lock within so many seconds; the answer says whether it was taken."""

    lock: Lock
    seconds: float


@dataclass(frozen=True, slots=True)
class Create:
    """Call the creator; the answer is what it returned."""

    creator: Callable[[], Any]


Step = Pause | Acquire | Create
Way = Generator[Step, Any, T]


def walk(way: Way[T]) -> T:
    """Go a way to its end in this thread."""
    try:
        _go(way, _done).send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise RuntimeError("a step in a thread was awaited")


async def walk_async(way: Way[T]) -> T:
    """Go a way to its end in this task; its creators return what is to be awaited."""
    return await _go(way, _awaited)


async def _go(way: Way[T], take: Callable[[Step], Awaitable[Any]]) -> T:
    go_on: Callable[[], Step] = partial(next, way)
    while True:
        try:
            step = go_on()
        except StopIteration as end:
            result: T = end.value
            return result
        try:
            go_on = partial(way.send, await take(step))
        except BaseException as error:
            go_on = partial(way.throw, error)


async def _done(step: Step) -> Any:
    """Take a step in this thread: nothing in here waits for an event loop."""
    if isinstance(step, Create):
        return step.creator()
    if isinstance(step, Acquire):
        return step.lock.acquire(step.seconds)
    time.sleep(step.seconds)
    return None


async def _awaited(step: Step) -> Any:
    if isinstance(step, Create):
        made: Awaitable[Any] = step.creator()
        return await made
    if isinstance(step, Acquire):
        return await _acquired(step)
    await asyncio.sleep(step.seconds)
    return None


async def _acquired(step: Acquire) -> bool:
    """Ask again and again: the holder may be a task of the same thread, or another thread."""
    give_up = time.monotonic() + step.seconds
    pause = _FIRST_PAUSE
    while not step.lock.acquire(0):
        if time.monotonic() >= give_up:
            return False
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
    return True
