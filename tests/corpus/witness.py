"""Count, without any detection, which lines of the corpus ran which statements."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import greenlet
from sqlalchemy import Engine, event

from .labels import APPLICATION, Line

_VALUE = re.compile(r"/\*.*?\*/|--[^\n]*|'(?:[^']|'')*'|\b\d+\b", re.DOTALL)


@dataclass(frozen=True)
class Execution:
    """One statement, and the lines of the corpus that asked for it, innermost first."""

    statement: str
    lines: tuple[Line, ...]
    writes: bool


class Witness:
    """All the statements seen, in their order."""

    def __init__(self) -> None:
        self.executions: list[Execution] = []

    def at(self, line: Line | None) -> list[Execution]:
        """Return what ``line`` itself ran; None is for what no line of the corpus asked for."""
        lines = (line,) if line else ()
        return [execution for execution in self.executions if execution.lines[:1] == lines]

    def below(self, line: Line) -> list[Execution]:
        """Return what ran below ``line``, in lines that it called."""
        return [execution for execution in self.executions if line in execution.lines[1:]]

    def repeated_at(self, line: Line | None, *, writes: bool) -> int:
        """Return how often ``line`` ran those statements which it ran again and again."""
        shapes = Counter(e.statement for e in self.at(line) if e.writes is writes)
        return sum(count for count in shapes.values() if count > 1)


@contextmanager
def witnessing() -> Iterator[Witness]:
    """Watch every engine of the process while the block runs."""
    witness = Witness()

    def listen(
        connection: Any, cursor: Any, statement: str, values: Any, context: Any, many: bool
    ) -> None:
        writes = context.isinsert or context.isupdate or context.isdelete
        writes = writes or statement.lstrip().upper().startswith(("INSERT", "UPDATE", "DELETE"))
        shape = _VALUE.sub("?", statement)
        witness.executions.append(Execution(shape, tuple(_corpus_lines()), writes))

    event.listen(Engine, "before_cursor_execute", listen)
    try:
        yield witness
    finally:
        event.remove(Engine, "before_cursor_execute", listen)


def _corpus_lines() -> Iterator[Line]:
    for frame in _stack():
        template = frame.f_globals.get("__jinja_template__")
        filename = frame.f_code.co_filename
        if template is not None:
            yield filename, template.get_corresponding_lineno(frame.f_lineno)
        elif filename.startswith(APPLICATION):
            yield filename, frame.f_lineno


def _stack() -> Iterator[FrameType]:
    """Walk outwards; the stack of an async engine goes on in the greenlet that awaits it."""
    frame: FrameType | None = sys._getframe(2)
    current = greenlet.getcurrent()
    while frame is not None:
        yield frame
        frame = frame.f_back
        if frame is None and current.parent is not None:
            current = current.parent
            frame = current.gr_frame
