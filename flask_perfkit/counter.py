"""QueryCounter: what the statements of one block are and cost, with or without Flask."""

from __future__ import annotations

import contextlib
import logging
from contextvars import Token
from functools import cached_property
from time import perf_counter_ns
from types import TracebackType
from typing import Self

from flask import current_app, has_app_context

from flask_perfkit.analysis import analyse
from flask_perfkit.config import Settings
from flask_perfkit.faults import log_once
from flask_perfkit.findings import Finding
from flask_perfkit.hooks.sqlalchemy import watch_statements
from flask_perfkit.profile import Profile, Query
from flask_perfkit.recorder import Recorder, enter, leave

logger = logging.getLogger("flask_perfkit")

_SECONDS = 1e-9


class QueryCounter:
    """Count the statements of a ``with`` block, of every engine, synchronous or not.

    ::

        with QueryCounter(threshold=10) as counter:
            build_report()
        counter.count, counter.duration, counter.findings

    Blocks nest: the outer one counts what the inner one saw, once that has ended. Threads
    and tasks are counted where they were given the copied context, and no others. When the
    block ends, more statements than ``threshold``, or an N+1, are logged as a warning.

    :param threshold: statements that are no reason to warn; None never warns of their number.
    """

    def __init__(self, threshold: int | None = None) -> None:
        if threshold is not None and (isinstance(threshold, bool) or not threshold >= 0):
            raise ValueError(f"threshold is {threshold!r}; allowed is a whole number, or None")
        self.threshold = threshold
        self._recorder: Recorder | None = None
        self._token: Token[Recorder | None] | None = None
        self._ended: int | None = None

    def __enter__(self) -> Self:
        if self._recorder is not None:
            raise RuntimeError("this QueryCounter was used already: make a new one for each block")
        watch_statements()
        self._recorder = Recorder()
        self._token = enter(self._recorder)
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        recorder, token = self._open(), self._token
        self._ended = perf_counter_ns()
        if token is not None:
            leave(token)
        recorder.close()
        try:
            self._warn()
        except Exception:
            log_once("QueryCounter")

    @property
    def count(self) -> int:
        """Statements so far; usable while the block runs."""
        return self._open().total

    @property
    def queries(self) -> tuple[Query, ...]:
        """The statements in the order in which they began; the first 1,000 of each cause."""
        return self._profile().queries

    @property
    def duration(self) -> float:
        """Seconds that the statements took to execute, without fetching their rows."""
        return self._profile().sql_duration

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What the detectors find in the statements so far, worst first."""
        return self._profile().findings

    def _open(self) -> Recorder:
        if self._recorder is None:
            raise RuntimeError("this QueryCounter counts inside its with block only")
        return self._recorder

    def _profile(self) -> Profile:
        if self._ended is not None:
            return self._final
        return self._analysed(perf_counter_ns())

    @cached_property
    def _final(self) -> Profile:
        return self._analysed(self._ended or perf_counter_ns())

    def _analysed(self, until: int) -> Profile:
        recorder = self._open()
        duration = (until - recorder.started) * _SECONDS
        return analyse(recorder, _settings(), duration=duration)

    def _warn(self) -> None:
        too_many = self.threshold is not None and self.count > self.threshold
        loops = [finding for finding in self.findings if finding.kind == "n_plus_one"]
        if too_many or loops:
            limit = "" if self.threshold is None else f" (threshold: {self.threshold})"
            lines = [f"N+1 QUERY DETECTED: {self.count} queries{limit}"]
            lines += [finding.message for finding in loops]
            logger.warning("%s", "\n  ".join(lines))
        for finding in self.findings:
            if finding.kind != "n_plus_one":
                logger.warning("%s", finding.message)


def _settings() -> Settings:
    with contextlib.suppress(RuntimeError):
        if has_app_context() and "perfkit" in current_app.extensions:
            settings: Settings = current_app.extensions["perfkit"].settings
            return settings
    return Settings()
