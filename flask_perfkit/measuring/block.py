"""The statements of a ``with`` block, of every engine, with or without Flask."""

from __future__ import annotations

import contextlib
from contextvars import Token
from functools import cached_property
from time import perf_counter_ns
from types import TracebackType
from typing import Self

from flask import current_app, has_app_context

from flask_perfkit.config import Settings
from flask_perfkit.detectors.analysis import analyse
from flask_perfkit.faults import log_once
from flask_perfkit.hooks.attributes import are_watched
from flask_perfkit.hooks.sqlalchemy import watch_statements
from flask_perfkit.recording.cause import Query
from flask_perfkit.recording.findings import Finding
from flask_perfkit.recording.profile import Profile
from flask_perfkit.recording.recorder import Recorder, enter, leave
from flask_perfkit.state import State

_SECONDS = 1e-9


class Block:
    """Record the statements of a ``with`` block, synchronous or not.

    Blocks nest: the outer one has what the inner one saw, once that has ended. Threads and
    tasks are seen where they were given the copied context, and no others.
    """

    def __init__(self) -> None:
        self._recorder: Recorder | None = None
        self._token: Token[Recorder | None] | None = None
        self._ended: int | None = None

    def __enter__(self) -> Self:
        if self._recorder is not None:
            name = type(self).__name__
            raise RuntimeError(f"this {name} was used already: make a new one for each block")
        watch_statements()
        self._recorder = self.make_recorder()
        self._recorder.touched = {} if are_watched() else None
        self._token = enter(self._recorder)
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        recorder, token = self.recorder, self._token
        self._ended = perf_counter_ns()
        if token is not None:
            # A block that ends in another context than it began in leaves that one as it is.
            with contextlib.suppress(ValueError):
                leave(token)
        try:
            recorder.close()
        except Exception:
            log_once(type(self).__name__)

    def make_recorder(self) -> Recorder:
        """Make what records the block."""
        return Recorder()

    @property
    def recorder(self) -> Recorder:
        """The recorder of this block.

        :raises RuntimeError: the block has not begun.
        """
        if self._recorder is None:
            name = type(self).__name__
            raise RuntimeError(f"this {name} counts inside its with block only")
        return self._recorder

    @property
    def profile(self) -> Profile:
        """What happened in the block so far, with its findings."""
        if self._ended is not None:
            return self._final
        return self._analysed(perf_counter_ns())

    @property
    def count(self) -> int:
        """Statements so far; usable while the block runs."""
        return self.recorder.total

    @property
    def queries(self) -> tuple[Query, ...]:
        """The statements in the order in which they began; the first 1,000 of each cause."""
        return self.profile.queries

    @property
    def duration(self) -> float:
        """Seconds that the statements took to execute, without fetching their rows."""
        return self.profile.sql_duration

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What the detectors find in the statements so far, worst first."""
        return self.profile.findings

    @cached_property
    def _final(self) -> Profile:
        return self._analysed(self._ended or perf_counter_ns())

    def _analysed(self, until: int) -> Profile:
        duration = (until - self.recorder.started) * _SECONDS
        return analyse(self.recorder, settings_here(), duration=duration)


def settings_here() -> Settings:
    """Return the settings of the current application, or the defaults where there is none."""
    with contextlib.suppress(RuntimeError):
        if has_app_context() and "perfkit" in current_app.extensions:
            state: State = current_app.extensions["perfkit"]
            state.look_again()
            return state.settings
    return Settings()
