"""What tells the rows of a statement apart: the columns that break ties."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import (
    Alias,
    BindParameter,
    BooleanClauseList,
    Join,
    Over,
    ScalarSelect,
    Table,
)
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BinaryExpression, ClauseElement, ColumnClause, Grouping
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.selectable import FromClause, FromGrouping

from flask_perfkit.pagination.order import resolved
from flask_perfkit.pagination.statement import froms_of

if TYPE_CHECKING:
    from sqlalchemy.sql.selectable import Select

    from flask_perfkit.pagination.order import Expression

_AGGREGATES = frozenset({"count", "sum", "avg", "min", "max", "array_agg", "string_agg"})


class _Fixed(NamedTuple):
    """A column of which one value only remains once a row of ``by`` is known (None: always)."""

    column: ColumnClause[Any]
    by: FromClause | None


def row_identity(statement: Select[Any]) -> list[Expression]:
    """Return columns that no two rows of the statement share.

    A table whose primary key another table's row fixes, as at the far end of
    a many-to-one join, adds nothing. A row source without a primary key
    counts with all of its columns.
    """
    if statement._group_by_clauses:
        return [resolved(clause, statement) for clause in statement._group_by_clauses]
    if statement._distinct and not statement._distinct_on:
        return _of_distinct(list(statement.selected_columns))
    if is_one_row(statement):
        return []
    sources: list[FromClause] = []
    fixed: list[_Fixed] = []
    for source in froms_of(statement):
        fixed.extend(_read(source, sources))
    for criterion in statement._where_criteria:
        fixed.extend(_equalities(criterion))
    return [column for source in _keys(sources, fixed) for column in _key(source)]


def is_one_row(statement: Select[Any]) -> bool:
    """Whether the statement aggregates without GROUP BY."""
    return not statement._group_by_clauses and any(map(_aggregates, statement.selected_columns))


def _aggregates(expression: ClauseElement) -> bool:
    if isinstance(expression, Over | ScalarSelect):
        return False
    if isinstance(expression, FunctionElement) and expression.name in _AGGREGATES:
        return True
    return any(map(_aggregates, expression.get_children()))


def _of_distinct(columns: list[Expression]) -> list[Expression]:
    """Leave out what a selected primary key fixes."""
    tables = {column.table for column in columns if isinstance(column, ColumnClause)}
    whole = {table for table in tables if _holds_key(columns, table)}
    return [
        column
        for column in columns
        if not isinstance(column, ColumnClause) or column.table not in whole or column.primary_key
    ]


def _holds_key(columns: Collection[Expression], table: FromClause | None) -> bool:
    hashes = {hash(column) for column in columns}
    return (
        table is not None
        and _has_key(table)
        and all(hash(column) in hashes for column in table.primary_key)
    )


def _has_key(source: FromClause) -> bool:
    table = source.element if isinstance(source, Alias) else source
    return isinstance(table, Table) and bool(list(source.primary_key))


def _key(source: FromClause) -> list[Expression]:
    return list(source.primary_key if _has_key(source) else source.c)


def _read(source: FromClause, sources: list[FromClause]) -> Iterator[_Fixed]:
    """Note the tables under a FROM element, and yield what its joins fix."""
    if isinstance(source, FromGrouping):
        yield from _read(source.element, sources)
    elif isinstance(source, Join):
        yield from _read(source.left, sources)
        inner: list[FromClause] = []
        yield from _read(source.right, inner)
        sources.extend(inner)
        if source.full or source.onclause is None:
            return
        for fact in _equalities(source.onclause):
            # A row of the left side that matches nothing is still there.
            if not source.isouter or fact.column.table in inner:
                yield fact
    else:
        sources.append(source)


def _equalities(criterion: Any) -> Iterator[_Fixed]:
    if isinstance(criterion, Grouping):
        yield from _equalities(criterion.element)
    elif isinstance(criterion, BooleanClauseList) and criterion.operator is operators.and_:
        for clause in criterion.clauses:
            yield from _equalities(clause)
    elif isinstance(criterion, BinaryExpression) and criterion.operator is operators.eq:
        for side, other in (
            (criterion.left, criterion.right),
            (criterion.right, criterion.left),
        ):
            if isinstance(side, ColumnClause) and isinstance(other, ColumnClause | BindParameter):
                yield _Fixed(side, other.table if isinstance(other, ColumnClause) else None)


def _keys(sources: list[FromClause], fixed: list[_Fixed]) -> list[FromClause]:
    """Leave out, from the last on, each source that the others fix."""
    keys = list(sources)
    for source in reversed(sources):
        rest = [key for key in keys if key is not source]
        if _reaches(rest, sources, fixed):
            keys = rest
    return keys


def _reaches(keys: list[FromClause], sources: list[FromClause], fixed: list[_Fixed]) -> bool:
    known = list(keys)
    pending = [source for source in sources if source not in known and _has_key(source)]
    while pending:
        found = [source for source in pending if _is_fixed(source, known, fixed)]
        if not found:
            break
        known.extend(found)
        pending = [source for source in pending if source not in found]
    return len(known) == len(sources)


def _is_fixed(source: FromClause, known: list[FromClause], fixed: list[_Fixed]) -> bool:
    determined = {
        fact.column.key
        for fact in fixed
        if fact.column.table == source and (fact.by is None or fact.by in known)
    }
    return all(column.key in determined for column in source.primary_key)
