"""What a statement does, in few words: its operations and the tables that they name."""

from __future__ import annotations

import re
from typing import NamedTuple

from flask_perfkit.recording.fingerprint import operation_of

_LONGEST = 255

_OPERATIONS = {"SELECT", "INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE"}
_BEFORE_TABLES = {"FROM", "JOIN", "INTO", "USING"}
_PASSED_OVER = {"AS", "LATERAL", "ONLY"}
_AFTER_TABLES = {
    *("WHERE", "ON", "SET", "VALUES", "GROUP", "ORDER", "HAVING", "LIMIT", "OFFSET", "WINDOW"),
    *("UNION", "INTERSECT", "EXCEPT", "RETURNING", "FOR", "FETCH"),
}
_NO_OPERATION_AFTER = {"FOR", "DO", "KEY"}  # FOR UPDATE, DO UPDATE, ON DUPLICATE KEY UPDATE

_PART = r"(?:\w+|\"[^\"]+\"|`[^`]+`|\[[^\]]+\])"
_TOKENS = re.compile(rf"{_PART}(?:\.{_PART})*|[(),]")
_QUOTES = re.compile(r"[\"`\[\]]")


class Summary(NamedTuple):
    """``text`` is for instance ``SELECT documents users``; ``table`` is None unless it is one."""

    text: str
    operation: str
    table: str | None


def summary_of(sql: str) -> Summary:
    """Return the summary of a statement in which no literal stands.

    It reads words, not the grammar, as the conventions for ``db.query.summary`` want it.
    """
    operation = operation_of(sql)
    parts, tables = _parts(sql)
    text = " ".join(parts if parts and parts[0] in _OPERATIONS else [operation, *parts])
    return Summary(text[:_LONGEST].strip(), operation, tables.pop() if len(tables) == 1 else None)


def _parts(sql: str) -> tuple[list[str], set[str]]:
    """Return operations and tables in their order, and the tables alone."""
    parts: list[str] = []
    tables: set[str] = set()
    queries: set[str] = set()  # the names of WITH, which are no tables
    outside: list[tuple[bool, bool, str]] = []  # of each open bracket
    operates = expected = among_tables = False
    before, closed = "", ""
    for match in _TOKENS.finditer(sql):
        token = match[0]
        word = token.upper()
        if word == "(":
            if before == "AS":
                queries.add(closed)
            outside.append((operates, among_tables, before))
            operates = expected = among_tables = False
        elif word == ")" and outside:
            operates, among_tables, closed = outside.pop()
        elif word == ",":
            expected = among_tables
        elif word in _OPERATIONS and before not in _NO_OPERATION_AFTER:
            parts.append(word)
            operates, expected, among_tables = True, word == "UPDATE", False
        elif word in _BEFORE_TABLES and operates and before != "DISTINCT":
            expected = True
        elif word in _AFTER_TABLES:
            expected = among_tables = False
        elif word == "AS":
            closed = closed if before == ")" else before
        elif expected and word not in _PASSED_OVER:
            expected, among_tables = False, True
            name = _QUOTES.sub("", token)
            is_call = sql.startswith("(", match.end()) and before != "INTO"
            if not is_call and token.upper() not in queries:
                parts.append(name)
                tables.add(name)
        before = word
    return parts, tables
