"""QueryCounter: counts the statements of one block, and warns of too many and of N+1s."""

from __future__ import annotations

import logging
from types import TracebackType

from flask_perfkit.faults import log_once
from flask_perfkit.measuring.block import Block
from flask_perfkit.recording.wording import queries
from flask_perfkit.sinks.log import log_finding, log_unmatched, say


class QueryCounter(Block):
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

    def __init__(self, threshold: int | None = 10) -> None:
        if threshold is not None and not _is_count(threshold):
            raise ValueError(
                f"threshold is {threshold!r}; allowed is a whole number from 0, or None"
            )
        super().__init__()
        self.threshold = threshold

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        super().__exit__(error_type, error, traceback)
        try:
            self._warn()
            log_unmatched(self.profile)
        except Exception:
            log_once("QueryCounter")

    def _warn(self) -> None:
        too_many = self.threshold is not None and self.count > self.threshold
        loops = [finding for finding in self.findings if finding.kind == "n_plus_one"]
        if too_many or loops:
            limit = "" if self.threshold is None else f" (threshold: {self.threshold})"
            lines = [f"N+1 QUERY DETECTED: {queries(self.count)}{limit}"]
            lines += [finding.message for finding in loops]
            say(logging.WARNING, "\n  ".join(lines))
        for finding in self.findings:
            if finding.kind != "n_plus_one":
                log_finding(finding)


def _is_count(threshold: object) -> bool:
    return isinstance(threshold, int) and not isinstance(threshold, bool) and threshold >= 0
