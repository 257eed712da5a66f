"""Runs code with and without batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.orm import Session

from flask_perfkit.batching import auto_batch


class Compared:
    """Runs the same code with and without batches."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.statements: list[str] = []
        event.listen(engine, "before_cursor_execute", self._note)

    def _note(self, connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        self.statements.append(statement)

    def run(self, walk: Callable[[Session], Any], **options: Any) -> tuple[Any, int]:
        self.statements.clear()
        with Session(self.engine, **options) as session:
            return walk(session), len(self.statements)

    def __call__(self, walk: Callable[[Session], Any], **options: Any) -> tuple[int, int]:
        """Return the statements sent without and with batches; the answers must be equal."""
        expected, alone = self.run(walk, **options)
        with auto_batch():
            answer, batched = self.run(walk, **options)
        assert answer == expected
        return alone, batched
