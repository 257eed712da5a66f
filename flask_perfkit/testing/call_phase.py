"""What belongs to a test and what to its surroundings, as pytest runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from functools import wraps
from inspect import iscoroutinefunction
from pathlib import Path
from types import CodeType, FrameType
from typing import Any
from unittest import TestCase

import pytest

from flask_perfkit.recording.findings import Finding
from flask_perfkit.recording.recorder import Recorder, opened
from flask_perfkit.testing.assertions import WatchedBlock
from flask_perfkit.testing.building import building_noted
from flask_perfkit.testing.ownership import TestRecorder

_DIRECTORIES = ("test", "tests")
_MARKS_OF_FIXTURES = ("_fixture_function", "_pytestfixturefunction")  # from pytest 8.4 on, before


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
    with opened(recorder.parent), pytest.MonkeyPatch.context() as patch:
        patch.setattr(item, "obj", recorded)
        if is_coroutine and instance is not None:  # unittest asks the instance for it
            patch.setattr(instance, function.__name__, recorded)
        yield


def _recorded(function: Callable[..., Any], recorder: Recorder) -> Callable[..., Any]:
    @wraps(function)
    def recorded(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        with opened(recorder):
            return function(*args, **kwargs)

    @wraps(function)
    async def recorded_coroutine(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        with opened(recorder):
            return await function(*args, **kwargs)

    return recorded_coroutine if iscoroutinefunction(function) else recorded


def is_of_tests(item: pytest.Item, finding: Finding) -> bool:
    """Tell whether a finding is about a line of a test's own, and not of the code that it runs."""
    function = (finding.function or "").rpartition(".")[2]
    if finding.filename == str(item.path) and function == getattr(item, "originalname", None):
        return True
    return finding.filename is not None and _is_in_tests(item, finding.filename)


class TestBlock(WatchedBlock):
    """The block of a whole test, which tells its own loops from those of the code that it runs."""

    __test__ = False  # pytest would take the name for that of a test class

    def __init__(self, item: pytest.Item) -> None:
        super().__init__()
        self._item = item

    def make_recorder(self) -> Recorder:
        """Make what judges each call from the test into other code by itself."""
        recorder = TestRecorder(TestCode(self._item))
        self.around.enter_context(recorder.libraries.counted())
        self.around.enter_context(building_noted(recorder.note_building))
        return recorder


class TestCode:
    """Tells whether a frame is of a test's own code.

    That is all in a directory of tests and in a ``conftest.py``, and of other files of tests the
    tests, their classes and their fixtures: code that is tested may stand there too.
    """

    __test__ = False  # pytest would take the name for that of a test class

    def __init__(self, item: pytest.Item) -> None:
        self._item = item
        self._known: dict[CodeType, bool] = {}

    def __call__(self, frame: FrameType) -> bool:
        code = frame.f_code
        known = self._known.get(code)
        if known is None:
            known = self._known[code] = self._is_test_code(frame)
        return known

    def _is_test_code(self, frame: FrameType) -> bool:
        code, item = frame.f_code, self._item
        if _is_in_tests(item, code.co_filename):
            return True
        patterns = item.config.getini("python_files")
        path = Path(code.co_filename)
        if path != item.path and not any(fnmatch(path.name, pattern) for pattern in patterns):
            return False
        name = code.co_qualname.partition(".")[0]
        outermost = frame.f_globals.get(name)
        return (
            isinstance(outermost, type)
            or name.startswith("test")
            or any(hasattr(outermost, mark) for mark in _MARKS_OF_FIXTURES)
        )


def _is_in_tests(item: pytest.Item, filename: str) -> bool:
    path = Path(filename)
    root = item.config.rootpath
    inside = path.relative_to(root).parent.parts if path.is_relative_to(root) else ()
    return path.name == "conftest.py" or any(part in _DIRECTORIES for part in inside)
