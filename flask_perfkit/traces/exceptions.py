"""Exceptions as events of a span: their type and stack, and their message where that is told."""

from __future__ import annotations

from collections.abc import Iterator
from traceback import StackSummary, format_exception, walk_tb

from opentelemetry.trace import Span

from flask_perfkit.errors import FindingError
from flask_perfkit.traces.telemetry import error_type

_LONGEST_MESSAGE = 1_000
_LONGEST_STACK = 16_000
_MOST_CAUSES = 10


def add_exception(span: Span, error: BaseException, *, tells_message: bool = False) -> None:
    """Add an exception to a span: the only place that knows how that is done.

    A finding that is raised is an event already.

    :param tells_message: say what the error says, too, and show the lines of source: they may
        hold what a user typed, and what somebody wrote down that is secret.
    """
    if isinstance(error, FindingError):
        return
    attributes = {"exception.type": error_type(error)}
    if tells_message:
        attributes["exception.message"] = str(error)[:_LONGEST_MESSAGE]
        stack = "".join(format_exception(error))
    else:
        stack = "\n".join(_stacks(error))
    attributes["exception.stacktrace"] = stack[-_LONGEST_STACK:]
    span.add_event("exception", attributes)


def _stacks(error: BaseException | None) -> Iterator[str]:
    """Yield the stacks of an exception and of those that led to it, first things first."""
    chain: list[BaseException] = []
    while error is not None and len(chain) < _MOST_CAUSES:
        chain.append(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    for each in reversed(chain):
        frames = StackSummary.extract(walk_tb(each.__traceback__), lookup_lines=False)
        lines = [f'  File "{one.filename}", line {one.lineno}, in {one.name}' for one in frames]
        yield "\n".join(["Traceback (most recent call last):", *lines, error_type(each), ""])
