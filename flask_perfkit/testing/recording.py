"""The pytest option ``--perfkit-record``: writes which statements the tests sent, and how often."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from flask_perfkit.advice.shapes.file import write_shapes
from flask_perfkit.advice.shapes.shape import StatementShape
from flask_perfkit.recording.cause import Cause
from flask_perfkit.recording.profile import Profile
from flask_perfkit.recording.wording import counted
from flask_perfkit.testing.budget import is_counted

_SENT = "perfkit_recorded"


class WorkloadFile:
    """A workload that is recorded during one run, of the tests that come to their end.

    What fixtures send is left out.

    With pytest-xdist each worker counts, and the controller writes.

    :param name: the path, relative to ``root``.
    :raises pytest.UsageError: its directory is missing.
    """

    def __init__(self, root: Path, name: str) -> None:
        self._root = root
        self._path = root / name
        self._name = name
        self._shapes: dict[tuple[str, str], StatementShape] = {}
        self._written: int | None = None
        if not self._path.parent.is_dir():
            raise pytest.UsageError(f"--perfkit-record={name}: there is no {self._path.parent}")

    def add(self, profile: Profile) -> None:
        """Count what a test sent."""
        self._add(_shape_of(cause, self._root) for cause in filter(is_counted, profile.causes))

    def _add(self, shapes: Iterable[StatementShape]) -> None:
        for one in shapes:
            known = self._shapes.get((one.sql, one.place))
            self._shapes[one.sql, one.place] = (
                one
                if known is None
                else StatementShape(
                    one.sql,
                    known.count + one.count,
                    known.seconds + one.seconds,
                    known.rows + one.rows,
                    one.place,
                )
            )

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take what a worker of pytest-xdist counted."""
        sent = getattr(node, "workeroutput", {}).get(_SENT, ())
        self._add(StatementShape(**one) for one in sent)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the file, or let the controller do it."""
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput[_SENT] = [vars(one) for one in self._shapes.values()]
        elif not session.config.getoption("collectonly"):
            self._written = write_shapes(self._path, self._shapes.values())

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what was written, and what it is for."""
        if self._written is not None:
            terminalreporter.write_line(
                f"{self._name}: written, {counted(self._written, 'statement')}: "
                f"flask perfkit indexes --workload {self._name}"
            )


def _shape_of(cause: Cause, root: Path) -> StatementShape:
    place = ""
    if cause.filename is not None:
        file = Path(cause.filename)
        place = f"{file.relative_to(root) if file.is_relative_to(root) else file}:{cause.lineno}"
    return StatementShape(cause.sql, cause.count, cause.duration, cause.rows, place)
