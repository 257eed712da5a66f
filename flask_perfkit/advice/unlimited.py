"""Statements that bring every row of a table: few now, and more with each row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.selectable import Join, Select

from flask_perfkit.advice.check import Check
from flask_perfkit.advice.index import schema_and_name
from flask_perfkit.advice.planners.planner import Planner
from flask_perfkit.advice.statement.terms import froms_of, table_of, unwrapped
from flask_perfkit.advice.workload import RecordedStatement


def unlimited_of(
    statements: Iterable[RecordedStatement], planner: Planner, *, most: int
) -> Iterator[Check]:
    """Yield the endpoints that select all of a table, each with its tables.

    :param most: the rows from which on a detector finds it by itself.
    """
    found: dict[str, dict[str, float]] = {}
    for recorded in statements:
        table = _selected_whole(recorded.tree)
        facts = planner.facts(table) if table is not None else None
        if recorded.endpoint is None or facts is None or facts.rows > most:
            continue
        found.setdefault(recorded.endpoint, {})[schema_and_name(table)] = facts.rows
    for endpoint, tables in sorted(found.items()):
        listed = ", ".join(f"{name} ({rows:,.0f} so far)" for name, rows in tables.items())
        yield Check(
            "no_limit",
            endpoint,
            f"selects every row of {listed}, without LIMIT",
            "paginate what grows",
        )


def _selected_whole(tree: Any) -> Any:
    """Return the table whose rows a SELECT brings without any condition; None otherwise."""
    if not isinstance(tree, Select) or tree._where_criteria or tree._group_by_clauses:
        return None
    if tree._limit_clause is not None or tree._fetch_clause is not None or tree._distinct:
        return None
    if any(isinstance(unwrapped(column), FunctionElement) for column in tree._raw_columns):
        return None
    froms = froms_of(tree)
    return _kept_whole(froms[0]) if len(froms) == 1 else None


def _kept_whole(source: Any) -> Any:
    """Return the table of which an outer join, as a joined load makes it, takes no row away."""
    while isinstance(source, Join) and source.isouter and not source.full:
        source = source.left
    return table_of(source)
