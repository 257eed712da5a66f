"""Budgets: for each test the statements that it may send, as text for a file under review."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from flask_perfkit.recording.cause import Cause

Statements = dict[str, int]
"""Statements as :func:`brief` writes them, with how often each was sent."""

Budgets = dict[str, Statements]
"""The statements of each test, by its id."""

_HEADER = """\
# The statements that each test may send. A test that is not listed may send none.
# Written by pytest --perfkit-budget=FILE --perfkit-update-budget
"""
_UNCOUNTED = {
    *("BEGIN", "START", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE"),
    *("PRAGMA", "SET", "RESET", "SHOW", "DISCARD"),
}
_GREETING = re.compile(
    r"SELECT (?:pg_catalog\.version\(\)|current_schema\(\)|VERSION\(\)|DATABASE\(\)|@@)",
    re.IGNORECASE,
)
"""What SQLAlchemy asks a database when it first meets it."""

_COLUMN = r'[\w."`]+(?: AS [\w"`]+)?'
_COLUMNS = re.compile(rf"\bSELECT (DISTINCT )?{_COLUMN}(?:, {_COLUMN})+ FROM\b")
_INSERTED = re.compile(r"\b(INSERT INTO \S+) \([^()]*\) VALUES \([^()]*\)(?:, \.\.\.)?")
_PLACEHOLDER = re.compile(r"(?:%\(\w+\)s|%s|\?|(?<![:\w]):\w+|\$\d+)(?:::\w+(?:\([\d?, ]*\))?)?")


def brief(sql: str) -> str:
    """Return a shape as a budget shows it, so that a new column of a model changes nothing.

    Lists of columns become ``...``, placeholders of every driver ``?``.
    """
    sql = _COLUMNS.sub(lambda match: f"SELECT {match[1] or ''}... FROM", sql)
    return _INSERTED.sub(r"\1 (...) VALUES (...)", _PLACEHOLDER.sub("?", sql))


def is_counted(cause: Cause) -> bool:
    """Tell whether statements count in a test: those for transactions and set-up do not."""
    return cause.operation not in _UNCOUNTED and not _GREETING.match(cause.sql)


def statements_of(causes: Iterable[Cause]) -> Statements:
    """Count the statements that causes sent."""
    statements: Counter[str] = Counter()
    for cause in filter(is_counted, causes):
        statements[brief(cause.sql)] += cause.count
    return dict(statements)


class Excess(NamedTuple):
    """A statement that was sent more often than its budget allows."""

    sql: str
    allowed: int
    sent: int


def excesses(allowed: Mapping[str, int], sent: Mapping[str, int]) -> list[Excess]:
    """Return what was sent beyond a budget, what is new first."""
    found = [
        Excess(sql, allowed.get(sql, 0), count)
        for sql, count in sent.items()
        if count > allowed.get(sql, 0)
    ]
    return sorted(found, key=lambda excess: (excess.allowed > 0, -excess.sent, excess.sql))


def render(budgets: Mapping[str, Mapping[str, int]]) -> str:
    """Return budgets as text, one statement a line, always in one order."""
    parts = [_HEADER]
    for test, statements in sorted(budgets.items()):
        lines = (f"    {count} {sql}\n" for sql, count in sorted(statements.items()))
        parts.append(f"{test}\n{''.join(lines)}")
    return "\n".join(parts)


def parse(text: str) -> Budgets:
    """Read what :func:`render` wrote.

    :raises ValueError: a line is neither a test, a statement nor a comment.
    """
    budgets: Budgets = {}
    statements: Statements | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        if not line or line.startswith("#"):
            continue
        count, _, sql = line.strip().partition(" ")
        if line.startswith("    ") and statements is not None and count.isdigit() and sql:
            statements[sql] = int(count)
        elif not line.startswith(" ") and "::" in line:
            statements = budgets.setdefault(line, {})
        else:
            raise ValueError(
                f"line {number} is {line!r}; allowed is a test (path::name), or below one four "
                "spaces, a count and a statement"
            )
    return budgets
