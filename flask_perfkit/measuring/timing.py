"""How long code takes and how much memory it keeps: around a block or as a decorator."""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractContextManager, suppress
from functools import wraps
from time import perf_counter
from typing import Any, Self, TypeAlias, TypeVar, overload

from flask_perfkit.errors import ExtraMissing
from flask_perfkit.given import CALLED, check_decorated, is_called
from flask_perfkit.system.figures import MB, resident_bytes

logger = logging.getLogger(__name__)

OnResult: TypeAlias = Callable[[str, float], object]
Block: TypeAlias = Callable[[], AbstractContextManager[object]]
AnyFunction: TypeAlias = Callable[..., Any]
F = TypeVar("F", bound="AnyFunction | staticmethod[..., Any] | classmethod[Any, ..., Any]")

Listener: TypeAlias = Callable[[str, float], object]
"""Gets the name of a block, and its seconds or the MB that it kept."""

_to_times: list[Listener] = []
_to_memory: list[Listener] = []


def listen(to_times: Listener, to_memory: Listener) -> None:
    """Call these after each block from now on; what they raise is logged and dropped."""
    _to_times.append(to_times)
    _to_memory.append(to_memory)


class Timer:
    """The time that a block takes, which :func:`timer` opens."""

    def __init__(self, name: str, on_result: OnResult | None) -> None:
        self.name = name
        self._on_result = on_result
        self._started: float | None = None
        self._ended: float | None = None

    @property
    def duration(self) -> float:
        """Seconds from the start of the block to its end, or to now while it runs."""
        if self._started is None:
            return 0.0
        return (perf_counter() if self._ended is None else self._ended) - self._started

    def __enter__(self) -> Self:
        self._ended = None
        self._started = perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = perf_counter()
        _log("%s took %.3fs", self.name, self.duration)
        _notify(self._on_result, self.name, self.duration)
        for listener in _to_times:
            _notify(listener, self.name, self.duration)


class MemoryTracker:
    """The memory of the process before and after a block, which :func:`memory_tracker` opens.

    ``before``, ``after`` and ``delta`` are MB of 1024 x 1024 bytes.
    """

    def __init__(self, name: str, on_result: OnResult | None) -> None:
        self.name = name
        self.before = self.after = 0.0
        self._on_result = on_result

    @property
    def delta(self) -> float:
        """MB that the process grew by; below zero where it shrank."""
        return self.after - self.before

    def __enter__(self) -> Self:
        self.before = self.after = _resident_mb()
        return self

    def __exit__(self, *_: object) -> None:
        self.after = _resident_mb()
        if math.isnan(self.delta):
            return
        change = f"{self.delta:+z.1f}MB"
        _log("%s: %.1fMB -> %.1fMB (%s)", self.name, self.before, self.after, change)
        _notify(self._on_result, self.name, self.delta)
        for listener in _to_memory:
            _notify(listener, self.name, self.delta)


def timer(name: str, *, on_result: OnResult | None = None) -> Timer:
    """Time a block of code.

    ``with timer("import") as t: ...``; then ``t.duration`` is the seconds it took, and
    while it runs the seconds so far. They are logged at INFO when the block ends, by an
    exception too.

    :param on_result: called with ``(name, seconds)``; its errors are logged and dropped.
    """
    return Timer(_named(name, "timer"), _called(on_result))


def memory_tracker(name: str, *, on_result: OnResult | None = None) -> MemoryTracker:
    """Track the memory over a block of code.

    ``with memory_tracker("load") as m: ...``; then ``m.before``, ``m.after`` and
    ``m.delta`` are the resident memory in MB (1024 x 1024 bytes), of the whole process:
    what other threads take counts too. It is logged at INFO when the block ends, by an
    exception too. A reading that fails is NaN, and is not reported.

    :param on_result: called with ``(name, MB delta)``; its errors are logged and dropped.
    :raises ExtraMissing: the platform has no ``/proc``, and psutil is not installed.
    """
    return MemoryTracker(_named(name, "memory_tracker"), _called(on_result))


@overload
def timeit(func: F, *, name: str | None = ..., on_result: OnResult | None = ...) -> F: ...
@overload
def timeit(*, name: str | None = ..., on_result: OnResult | None = ...) -> Callable[[F], F]: ...
def timeit(func: Any = None, *, name: str | None = None, on_result: OnResult | None = None) -> Any:
    """Time each call of a function, with or without arguments: ``@timeit``.

    Works on functions, coroutine functions, generator functions of both kinds and
    methods, above or below ``@staticmethod`` and ``@classmethod``. The time is logged at
    INFO, that of a failing call too. A generator is timed from its first step until it is
    exhausted, closed or fails: the time between its steps counts.

    :param name: what to call it in the log; the function's own name unless given.
    :param on_result: called with ``(name, seconds)``; its errors are logged and dropped.
    """
    return _decorated("timeit", func, name, on_result, Timer)


@overload
def track_memory(func: F, *, name: str | None = ..., on_result: OnResult | None = ...) -> F: ...
@overload
def track_memory(
    *, name: str | None = ..., on_result: OnResult | None = ...
) -> Callable[[F], F]: ...
def track_memory(
    func: Any = None, *, name: str | None = None, on_result: OnResult | None = None
) -> Any:
    """Track the memory over each call of a function, with or without arguments: ``@track_memory``.

    Takes what :func:`timeit` takes and measures what :func:`memory_tracker` measures.

    :param name: what to call it in the log; the function's own name unless given.
    :param on_result: called with ``(name, MB delta)``; its errors are logged and dropped.
    :raises ExtraMissing: the platform has no ``/proc``, and psutil is not installed.
    """
    _resident_mb()  # a missing package shows here, not at the first call
    return _decorated("track_memory", func, name, on_result, MemoryTracker)


def _named(name: Any, taker: str) -> str:
    if not isinstance(name, str):
        raise TypeError(f'{taker} is given {name!r:.100}; allowed is text, such as "import"')
    return name


def _called(on_result: Any) -> OnResult | None:
    if on_result is not None and not is_called(on_result):
        raise TypeError(f"on_result is {on_result!r:.100}; allowed is {CALLED}, or None")
    return on_result  # type: ignore[no-any-return]


def _log(message: str, *args: object) -> None:
    with suppress(Exception):  # a handler that raises must not fail the measured code
        logger.info(message, *args)


def _notify(on_result: OnResult | None, name: str, value: float) -> None:
    if on_result is None:
        return
    try:
        on_result(name, value)
    except Exception:
        with suppress(Exception):
            logger.exception("on_result of %s failed", name)


def _resident_mb() -> float:
    try:
        return resident_bytes() / MB
    except ExtraMissing:
        raise
    except Exception:
        with suppress(Exception):
            logger.exception("the memory of the process could not be read")
        return math.nan


def _decorated(
    taker: str,
    func: Any,
    name: str | None,
    on_result: OnResult | None,
    block: type[Timer | MemoryTracker],
) -> Any:
    _called(on_result)
    if name is not None:
        _named(name, "name=")

    def decorate(func: Any) -> Any:
        if isinstance(func, type):
            check_decorated(func, taker)
        label = name or str(getattr(func, "__name__", type(func).__name__))
        return _around(func, lambda: block(label, on_result))

    return decorate if func is None else decorate(func)


def _around(func: Any, block: Block) -> Any:
    """Return ``func`` with each of its runs inside a new ``block()``, its kind unchanged."""
    if isinstance(func, staticmethod | classmethod):
        return type(func)(_around(func.__func__, block))
    if not callable(func):
        raise TypeError(f"{func!r:.100} is no function; name and on_result go by keyword")
    if inspect.iscoroutinefunction(func):
        return _around_coroutine(func, block)
    if inspect.isgeneratorfunction(func):
        return _around_generator(func, block)
    if inspect.isasyncgenfunction(func):
        return _around_async_generator(func, block)
    return _around_function(func, block)


def _around_function(func: AnyFunction, block: Block) -> AnyFunction:
    @wraps(func)
    def measured(*args: Any, **kwargs: Any) -> Any:
        with block():
            return func(*args, **kwargs)

    return measured


def _around_coroutine(func: AnyFunction, block: Block) -> AnyFunction:
    @wraps(func)
    async def measured(*args: Any, **kwargs: Any) -> Any:
        with block():
            return await func(*args, **kwargs)

    return measured


def _around_generator(func: AnyFunction, block: Block) -> AnyFunction:
    @wraps(func)
    def measured(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        with block():
            return (yield from func(*args, **kwargs))

    return measured


def _around_async_generator(func: AnyFunction, block: Block) -> AnyFunction:
    @wraps(func)
    async def measured(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        with block():
            steps = func(*args, **kwargs)
            # What "yield from" does, which async generators lack. Closing comes as a
            # GeneratorExit at the yield and goes on like any exception that is thrown in.
            with suppress(StopAsyncIteration):
                item = await anext(steps)
                while True:
                    try:
                        sent = yield item
                    except BaseException as error:
                        item = await steps.athrow(error)
                    else:
                        item = await steps.asend(sent)

    return measured
