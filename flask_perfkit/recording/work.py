"""Which function a piece of work is named by: the one that opened it, or that it was opened for."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from types import CodeType, FrameType

from flask_perfkit.recording.callsite import PROMPTS, is_application
from flask_perfkit.recording.frames import function_of, passes_on, upwards

_MODULE = "<module>"
_PACKAGE = __name__.partition(".")[0]
_SET_UP = {
    "call_fixture_func": ("_pytest.fixtures",),
    "_teardown_yield_fixture": ("_pytest.fixtures",),
    "_callSetUp": ("unittest.case",),
    "_handleClassSetUp": ("unittest.suite",),
    "_handleModuleFixture": ("unittest.suite",),
    "open": ("flask.testing",),
}
"""Functions that only prepare, each with the modules that it is one of."""


def is_running(codes: Collection[CodeType], frame: FrameType | None) -> bool:
    """Tell whether one of these functions is among those that are being called just now."""
    return any(each.f_code in codes for each in _above(frame))


def is_surroundings(frame: FrameType | None) -> bool:
    """Tell whether a context is opened for what comes later, and not for work of its own.

    So do a module that is being imported, the set-up of a test, and a test client that keeps the
    context of its last request. What PerfKit opens one for is no work of the application's either.
    """
    if frame is None:
        return False
    if frame.f_globals.get("__name__", "").partition(".")[0] == _PACKAGE:
        return True
    if frame.f_code.co_name == _MODULE and frame.f_globals.get("__name__") != "__main__":
        return True
    return any(
        frame.f_globals.get("__name__") in _SET_UP.get(frame.f_code.co_name, ())
        for frame in _above(frame)
    )


def name_of_work(frame: FrameType, opener: CodeType | None) -> str | None:
    """Name the piece of work that a frame is part of.

    It is the function that opened it, while that one runs. One that only passes a call on, as
    the base of all tasks of a queue does, and one of a library leave their name to what they
    call. Where it was opened by what has returned since, such as a hook before each task, it is
    the application's outermost function. None while nothing else of the application is there.
    """
    inside = list(_up_to(opener, _above(frame)))
    frames = list(filter(_is_of_application, inside))
    if not frames:  # SQLAlchemy runs in a greenlet of its own under asyncio
        around = (each for _, each in upwards(frame))
        frames = list(filter(_is_of_application, _up_to(opener, around)))
    while frames and passes_on(frames[-1]):
        frames.pop()
    return name_of(frames[-1].f_code) if frames else None


def _up_to(opener: CodeType | None, frames: Iterable[FrameType]) -> Iterator[FrameType]:
    """Yield frames from the innermost to the opener's, or all where that is not among them."""
    for frame in frames:
        yield frame
        if frame.f_code is opener:
            return


def name_of(code: CodeType) -> str:
    """Return a function's name; a script goes by its file's, what is typed is the shell's."""
    function = function_of(code)
    if function != _MODULE:
        return function
    if code.co_filename.startswith(PROMPTS):
        return "shell"
    return os.path.basename(code.co_filename)


def _above(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _is_of_application(frame: FrameType) -> bool:
    return is_application(frame.f_code.co_filename)
