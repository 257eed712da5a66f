"""Which loops are a library's own: those inside of one call from the application into it.

Who calls a library once cannot mend what it sends one by one. Loads of attributes are left out:
what a library reads of the application's objects, the application's select could have brought.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from sys import _getframe
from types import FrameType
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

from flask_perfkit.faults import log_once
from flask_perfkit.recording.callsite import is_application, library_of
from flask_perfkit.recording.findings import Finding
from flask_perfkit.recording.fingerprint import shape_of
from flask_perfkit.recording.frames import upwards

_LOOPS = ("n_plus_one", "n_plus_one_write")

_Place = tuple[str | None, str | None, int | None]
"""A statement's shape, and the line of the application."""


class LibraryCalls:
    """Counts, for each statement that libraries send, how often the application called them.

    :param scope_of: what a frame's statement is part of; each begins to count anew.
    """

    def __init__(self, scope_of: Callable[[FrameType], object]) -> None:
        self._scope_of = scope_of
        self._scope: object = None
        self._calls: Counter[_Place] = Counter()
        self._latest: dict[_Place, FrameType] = {}

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count what any engine sends during a block."""
        # By then the recorder has the statement, and has closed what was before it.
        event.listen(Engine, "after_cursor_execute", self._on_execute)
        try:
            yield
        finally:
            event.remove(Engine, "after_cursor_execute", self._on_execute)

    def take_out(self, findings: Iterable[Finding], threshold: int) -> list[Finding]:
        """Return the findings of the latest scope without those about a library's own loop.

        :param threshold: how many calls make a loop of the application.
        """
        theirs = {place for place, calls in self._calls.items() if calls < threshold}
        return [
            finding
            for finding in findings
            if finding.kind not in _LOOPS
            or (finding.sql, finding.filename, finding.lineno) not in theirs
        ]

    def _on_execute(self, *given: Any) -> None:
        try:
            _, _, sql, _, context, _ = given
            if context is None or not _loads_attribute(context.execution_options):
                self._note(sql, _getframe())
        except Exception:
            log_once("looking at the calls of libraries")

    def _note(self, sql: str, frame: FrameType) -> None:
        scope = self._scope_of(frame)
        if scope is not self._scope:
            self._scope = scope
            self._calls.clear()
            self._latest.clear()
        called, library = frame, None
        line: tuple[str | None, int | None] = None, None
        for _, each in upwards(frame):
            filename = each.f_code.co_filename
            if is_application(filename):
                line = filename, each.f_lineno
                break
            called, library = each, library or library_of(filename)
        place = (shape_of(sql).text, *line)
        if library is not None and self._latest.get(place) is not called:
            self._latest[place] = called
            self._calls[place] += 1


def _loads_attribute(options: Any) -> bool:
    load = options.get("_sa_orm_load_options")
    return load is not None and (
        load._refresh_state is not None or load._lazy_loaded_from is not None
    )
