"""Processes that run one variant each."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measures import Start

_WORKER = Path(__file__).with_name("worker.py")


class Process:
    """A variant in a process of its own, which measures only when it is asked to."""

    def __init__(self, variant: str) -> None:
        self.variant = variant
        self._process = subprocess.Popen(
            [sys.executable, str(_WORKER), variant], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.start: Start = self.answer()

    def ask(self, task: Callable[..., Any], *arguments: Any) -> Any:
        """Return what a function of :mod:`measures` returns there."""
        self.tell(task, *arguments)
        return self.answer()

    def tell(self, task: Callable[..., Any], *arguments: Any) -> None:
        """Let it measure and go on; its :meth:`answer` has to be fetched before the next task."""
        assert self._process.stdin is not None
        pickle.dump((task, arguments), self._process.stdin)
        self._process.stdin.flush()

    def answer(self) -> Any:
        assert self._process.stdout is not None
        try:
            return pickle.load(self._process.stdout)
        except EOFError:
            raise RuntimeError(f"the process of {self.variant!r} ended; see above") from None

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()
