"""Whose loop it is: that of the test, or of the code that it runs.

What a loop is, is told by the frame that its executions share. A call from a test's own code into
other code is such a frame, so that each of these calls is judged by itself: what one call sends
again and again is a loop of the code that was called, or of a library that this code called once.
What only several calls send again is a loop of the test. A call that builds an application is its
set-up, which a server does once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from types import FrameType

from flask_perfkit.config import Settings
from flask_perfkit.detectors.analysis import analyse
from flask_perfkit.faults import log_once
from flask_perfkit.measuring.block import settings_here
from flask_perfkit.recording.causes import Record
from flask_perfkit.recording.findings import Finding
from flask_perfkit.recording.frames import upwards
from flask_perfkit.recording.recorder import Recorder, current, opened
from flask_perfkit.testing.libraries import LibraryCalls

IsOfTest = Callable[[FrameType], bool]
"""Tells whether a frame is of a test's own code."""


class TestRecorder(Recorder):
    """The recorder of a test, which judges each call into the code that is tested by itself."""

    __test__ = False  # pytest would take the name for that of a test class

    def __init__(self, is_of_test: IsOfTest) -> None:
        super().__init__()
        self._is_of_test = is_of_test
        self._called: FrameType | None = None
        self._building: FrameType | None = None
        self._call: Recorder | None = None
        self._settings = Settings()
        self.libraries = LibraryCalls(self._scope_of)

    def append(self, record: Record) -> None:
        """Take the record of a statement."""
        self._call_at(sys._getframe(1)).append(record)

    def note_building(self, frame: FrameType) -> None:
        """Note that the call which a frame is part of builds an application."""
        self._building = self._frame_called(frame)

    def begin_flush(self) -> None:
        """Note that a session begins to write what has changed in it."""
        self._call_at(sys._getframe(1)).begin_flush()

    def end_flush(self) -> None:
        """Note that the session has written."""
        if self._call is not None:
            self._call.end_flush()

    def report(self, findings: Iterable[Finding]) -> None:
        """Take findings of a call, request or command, but for those of a library's own loops."""
        threshold = settings_here().n_plus_one_threshold
        super().report(self.libraries.take_out(findings, threshold))

    def close(self) -> None:
        """End the recording."""
        if not self.closed:
            self._end_call()
        super().close()

    def _call_at(self, frame: FrameType) -> Recorder:
        """Return what records the call that a frame is part of."""
        called = self._frame_called(frame)
        if self._call is None or called is not self._called:
            self._end_call()
            self._called = called
            self._settings = settings_here()
            self._call = self._begin_call()
        return self._call

    def _scope_of(self, frame: FrameType) -> object:
        """Return what is judged by itself: the request that is recorded, or the call."""
        recorder = current()
        return self._frame_called(frame) if recorder is self else recorder

    def _frame_called(self, frame: FrameType) -> FrameType | None:
        """Return the frame that the test's own code has called; None where a thread has none."""
        called = frame
        for _, each in upwards(frame):
            if self._is_of_test(each):
                return called
            called = each
        return None

    def _begin_call(self) -> Recorder:
        with opened(self):
            call = Recorder()
        call.stands_alone = True
        call.touched = self.touched
        return call

    def _end_call(self) -> None:
        call, called = self._call, self._called
        self._call = self._called = None
        if call is None:
            return
        try:
            call.close()
            if called is not None and called is self._building:
                return
            profile = analyse(call, self._settings)
            self.report((*profile.findings, *profile.allowed))
        except Exception:
            log_once("judging a call of a test")
