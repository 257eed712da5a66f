"""The shape of a statement: its text without any value, and what it took."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StatementShape:
    """A statement, a question mark for each value; ``seconds`` and ``rows`` are sums.

    ``place`` is the application's line that asked, as ``file:line``, or nothing.
    """

    sql: str
    count: int
    seconds: float = 0.0
    rows: int = 0
    place: str = ""
