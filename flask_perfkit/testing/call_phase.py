"""What belongs to a test and what to its surroundings, as pytest runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from functools import wraps
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any
from unittest import TestCase

import pytest

from flask_perfkit.config import Settings
from flask_perfkit.recording.findings import Finding
from flask_perfkit.recording.recorder import Recorder, enter, leave

_DIRECTORIES = ("test", "tests")


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


def is_of_tests(item: pytest.Item, finding: Finding) -> bool:
    """Tell whether a finding is about what tests do, and not about the code that they run.

    That is a line of the test function, and code that tests call line by line: no line of them
    repeats it as often as makes a finding.
    """
    function = (finding.function or "").rpartition(".")[2]
    if finding.filename == str(item.path) and function == getattr(item, "originalname", None):
        return True
    threshold = Settings().n_plus_one_threshold
    return bool(finding.callers) and all(
        count < threshold and _is_test_code(item, filename)
        for filename, _, count in finding.callers
    )


def _is_test_code(item: pytest.Item, filename: str) -> bool:
    path = Path(filename)
    if path == item.path or path.name == "conftest.py":
        return True
    root = item.config.rootpath
    inside = path.relative_to(root).parent.parts if path.is_relative_to(root) else ()
    patterns = item.config.getini("python_files")
    return any(part in _DIRECTORIES for part in inside) or any(
        fnmatch(path.name, pattern) for pattern in patterns
    )
