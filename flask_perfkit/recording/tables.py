"""Which tables a statement is about, and which it names at all."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from sqlalchemy.sql import visitors
from sqlalchemy.sql.elements import ColumnClause, TextClause
from sqlalchemy.sql.expression import TableClause

from flask_perfkit.recording.fingerprint import WRITES, operation_of

NO_TABLE = "(no table)"
"""What a statement is about that reads none."""

_TABLE = re.compile(
    r"\b(?:FROM|INTO|UPDATE)\s+(?:ONLY\s+)?((?:[\w$]+|\"[^\"]+\"|`[^`]+`|\[[^\]]+\])"
    r"(?:\.(?:[\w$]+|\"[^\"]+\"|`[^`]+`|\[[^\]]+\]))?)",
    re.IGNORECASE,
)
_NAMED_QUERY = re.compile(
    r"(?:\bWITH(?:\s+RECURSIVE)?|,)\s+([\w\"]+)\s*(?:\([^()]*\)\s*)?AS\b", re.IGNORECASE
)
_INNERMOST = re.compile(r"\([^()]*\)")
_NO_NAMES = ("SELECT", "SET", "LATERAL", "UNNEST")
_CATALOGS = ("sqlite_", "pg_", "information_schema")
_WORD = re.compile(r"[\w$]+")


def is_of_catalog(sql: str) -> bool:
    """Tell whether a statement reads the database's catalog, as a migration does."""
    return table_of(sql).lower().startswith(_CATALOGS)


@lru_cache(maxsize=1_000)
def table_of(sql: str) -> str:
    """Return the table that a statement is about.

    That is the first one of the outermost select that is no named query's, or else the first.
    """
    named = [name.strip('"') for name in _NAMED_QUERY.findall(sql)]
    outer = sql
    while _INNERMOST.search(outer):
        outer = _INNERMOST.sub(" … ", outer)  # no name, so that no word behind is taken for one
    for text in (outer, sql):
        for match in _TABLE.finditer(text):
            schema, _, name = match[1].rpartition(".")
            if schema.lower() in _CATALOGS:
                return schema
            name = name.strip('"`[]')
            if name not in named and name.upper() not in _NO_NAMES:
                return name
    return named[0] if named else NO_TABLE


def tables_in(compiled: Any, sql: str) -> frozenset[str]:
    """Return the names of all tables that a statement reads or writes, in small letters.

    Of a text that writes, that is the one that it is about; of one that reads, each of its words,
    since any may be a table.

    :param compiled: what was compiled; None for SQL that went to the driver.
    :param sql: its shape.
    """
    # The ORM's select is compiled into another, which has the tables of its joins.
    statement = getattr(getattr(compiled, "compile_state", None), "statement", None)
    if statement is None:
        statement = getattr(compiled, "statement", None)
    elements = list(visitors.iterate(statement)) if statement is not None else []
    if not elements or any(map(_is_text, elements)):
        writes = operation_of(sql) in WRITES
        return frozenset([table_of(sql).lower()] if writes else _WORD.findall(sql.lower()))
    return frozenset(str(each.name).lower() for each in elements if isinstance(each, TableClause))


def _is_text(element: Any) -> bool:
    if isinstance(element, ColumnClause):
        # Query.exists() selects the literal column 1, which names no table.
        return bool(element.is_literal) and not str(element.name).isdigit()
    return isinstance(element, TextClause)
