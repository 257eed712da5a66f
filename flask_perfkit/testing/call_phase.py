"""What belongs to a test and what to its surroundings, as pytest runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any
from unittest import TestCase

import pytest

from flask_perfkit.recorder import Recorder, enter, leave


@contextmanager
def recording_only_the_test(item: pytest.Item, recorder: Recorder) -> Iterator[None]:
    """Let an open recorder see the test function alone, where more runs in the call phase.

    A coroutine may run in a context that was made before, in which the recorder is not open; a
    method of a ``unittest.TestCase`` is called together with its ``setUp``.
    """
    function: Any = getattr(item, "obj", None)
    instance = getattr(function, "__self__", None)
    is_coroutine = iscoroutinefunction(function)
    if not (is_coroutine or isinstance(instance, TestCase)):
        yield
        return
    recorded = _recorded(function, recorder)
    with _open(recorder.parent), pytest.MonkeyPatch.context() as patch:
        patch.setattr(item, "obj", recorded)
        if is_coroutine and instance is not None:  # unittest asks the instance for it
            patch.setattr(instance, function.__name__, recorded)
        yield


def _recorded(function: Callable[..., Any], recorder: Recorder) -> Callable[..., Any]:
    @wraps(function)
    def recorded(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        with _open(recorder):
            return function(*args, **kwargs)

    @wraps(function)
    async def recorded_coroutine(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        with _open(recorder):
            return await function(*args, **kwargs)

    return recorded_coroutine if iscoroutinefunction(function) else recorded


@contextmanager
def _open(recorder: Recorder | None) -> Iterator[None]:
    token = enter(recorder)
    try:
        yield
    finally:
        leave(token)
