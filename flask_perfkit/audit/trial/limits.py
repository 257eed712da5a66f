"""How far a trial may go, and how it is ended where it would go further."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from flask_perfkit.recording.callsite import is_application

MOST_STATEMENTS = 20_000
MOST_SECONDS = 30.0
MOST_BYTES = 20_000_000

GRACE = 1.0
"""Seconds that what was ended has for its cleanup, before it is ended once more.

It may not have been ended at all: Python drops what is raised while it collects garbage.
"""

_AGAIN = 0.05
_PACKAGE = Path(__file__).parents[2]
_JUDGING = tuple(f"{_PACKAGE / room}{os.sep}" for room in ("cures", "detectors", "recording"))


class TrialEnded(BaseException):
    """A trial came to what it must not do; no handler of the application is meant to catch it."""


@dataclass
class Trial:
    """One asking: what it has done so far, and why it was ended, if it was.

    Threads that are born meanwhile belong to it, and what its context is copied to.
    """

    seconds: float = MOST_SECONDS
    statements: int = 0
    ended: str | None = None
    others: frozenset[int] = field(
        default_factory=lambda: frozenset(map(id, threading.enumerate()))
    )

    @property
    def is_open(self) -> bool:
        """Whether it goes on; an end may come in the middle of its being closed."""
        return any(each is self for each in _open)

    def end(self, reason: str) -> None:
        """End the trial here.

        :raises TrialEnded: always.
        """
        self.ended = self.ended or reason
        raise TrialEnded(reason)

    def count_statement(self) -> None:
        """Count a statement.

        :raises TrialEnded: it is one too many, or the trial has ended before.
        """
        if self.ended is not None:
            self.end(self.ended)
        self.statements += 1
        if self.statements > MOST_STATEMENTS:
            self.end(f"it sends more than {MOST_STATEMENTS:,} statements")


_open: list[Trial] = []
_own: ContextVar[Trial | None] = ContextVar("flask_perfkit_trial", default=None)


def current_trial() -> Trial | None:
    """Return the trial that what runs here belongs to."""
    trial = _own.get()
    if trial is not None or not _open:
        return trial
    thread = id(threading.current_thread())
    return next((each for each in _open if thread not in each.others), None)


@contextmanager
def limited(trial: Trial) -> Iterator[None]:
    """Let a block be a trial, and end it when its seconds are over."""
    token = _own.set(trial)
    _open.append(trial)
    try:
        with _deadline(trial):
            yield
    finally:
        _open.remove(trial)
        _own.reset(token)


def _deadline(trial: Trial) -> Any:
    """Return what ends a block in time: a signal where one can be had, since it ends a wait too."""
    main = threading.current_thread() is threading.main_thread()
    if main and hasattr(signal, "setitimer") and signal.getitimer(signal.ITIMER_REAL)[0] == 0:
        return _by_signal(trial)
    return _by_thread(trial)


@contextmanager
def _by_signal(trial: Trial) -> Iterator[None]:
    def ring(_number: int, frame: FrameType | None) -> None:
        if not trial.is_open:
            signal.setitimer(signal.ITIMER_REAL, 0)
            return
        is_judging = _is_judging(frame)
        signal.setitimer(signal.ITIMER_REAL, _AGAIN if is_judging else GRACE)
        if not is_judging:
            trial.end(_too_long(trial))

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, trial.seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _by_thread(trial: Trial) -> Iterator[None]:
    """End a block between two instructions of Python; a wait inside of a library goes on."""
    asking = ctypes.c_ulong(threading.get_ident())
    lock = threading.Lock()
    over = threading.Event()

    def watch() -> None:
        seconds = trial.seconds
        while not over.wait(seconds) and trial.is_open:
            seconds = _AGAIN
            if _is_judging(sys._current_frames().get(asking.value)):
                continue
            seconds = GRACE
            with lock:
                if not over.is_set():
                    trial.ended = trial.ended or _too_long(trial)
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(asking, ctypes.py_object(TrialEnded))

    watcher = threading.Thread(target=watch, daemon=True, name="flask-perfkit-trial")
    watcher.start()
    trial.others |= {id(watcher)}
    try:
        yield
    finally:
        with lock:
            over.set()
            ctypes.pythonapi.PyThreadState_SetAsyncExc(asking, None)
        watcher.join()


def _is_judging(frame: FrameType | None) -> bool:
    """Tell whether our own code looks at the request by now.

    It is not ended in the middle: Python's parser, for one, does not work any more after an
    exception that came from outside.
    """
    while frame is not None:
        filename = frame.f_code.co_filename
        if filename.startswith(_JUDGING):
            return True
        if is_application(filename):
            return False
        frame = frame.f_back
    return False


def _too_long(trial: Trial) -> str:
    return f"it takes more than {trial.seconds:g} s, as an endless stream does"
