"""What tells the rows of a statement apart: the columns that break ties."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import (
    CompoundSelect,
    FromClause,
    Over,
    ScalarSelect,
    Select,
    Table,
    UniqueConstraint,
)
from sqlalchemy.sql.elements import ClauseElement, ClauseList, ColumnClause
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.selectable import AliasedReturnsRows, _CompoundSelectKeyword

from flask_perfkit.pagination.order.froms import columns_of, read_froms
from flask_perfkit.pagination.order.keys import comparable
from flask_perfkit.pagination.order.terms import resolved

if TYPE_CHECKING:
    from flask_perfkit.pagination.order.froms import Froms
    from flask_perfkit.pagination.order.terms import Expression

_ALL = frozenset(
    {
        _CompoundSelectKeyword.UNION_ALL,
        _CompoundSelectKeyword.INTERSECT_ALL,
        _CompoundSelectKeyword.EXCEPT_ALL,
    }
)
_AGGREGATE = re.compile(
    r"any_value|avg|corr|count|every|group_concat|max|min|mode|sum|total|xmlagg"
    r"|(array|jsonb?|jsonb?_object|range|string)_agg|json_(array|object)agg|json_group_(array|object)"
    r"|(bit|bool)_(and|or|xor)|percentile_(cont|disc)|(covar|stddev|var)(_pop|_samp)?|std|variance",
    re.IGNORECASE,
)
_SET_RETURNING = re.compile(
    r"generate_(series|subscripts)|unnest|regexp_(matches|split_to_table)|string_to_table"
    r"|jsonb?_(array_elements|each)(_text)?|jsonb?_(object_keys|path_query)",
    re.IGNORECASE,
)
_GROUPING_SETS = frozenset({"cube", "grouping_sets", "rollup"})


class Identity(NamedTuple):
    """Columns that tell rows apart.

    :param is_unique: False where rows that are the same throughout may come twice.
    """

    columns: list[Expression]
    is_unique: bool


def row_identity(
    statement: Select[Any], froms: Froms, order: Collection[Expression] = ()
) -> Identity:
    """Return columns that no two rows of the statement share.

    A table whose primary key another table's row fixes, as at the far end of
    a many-to-one join, adds nothing. A row source without a key counts with
    all of its columns.

    :param order: what the rows are sorted by: a table that is read for it anyway is preferred,
        because one index may then have both.
    """
    if statement._distinct and not statement._distinct_on:
        return Identity(_of_distinct(list(statement.selected_columns)), is_unique=True)
    if statement._group_by_clauses:
        groups = list(groups_of(statement))
        if any(_groups_several_ways(group) for group in groups):
            return Identity(list(statement.selected_columns), is_unique=False)
        return Identity(groups, is_unique=True)
    if is_one_row(statement):
        return Identity([], is_unique=True)
    if any(_calls(_SET_RETURNING, column) for column in statement.selected_columns):
        raise ValueError("cannot tell rows apart that a function in the SELECT list makes: join it")
    sorted_by = {column.table for expression in order for column in columns_of(expression)}
    keys = [(source, _key(source)) for source in _keys(froms, sorted_by)]
    columns = [
        column
        for source, key in keys
        if source not in froms.nameless
        for column in (map(comparable, source.c) if key is None else key)
    ]
    is_unique = all(key is not None and source not in froms.nameless for source, key in keys)
    return Identity(_without_constants(columns, froms) or columns, is_unique)


def _without_constants(columns: list[Expression], froms: Froms) -> list[Expression]:
    """Leave out what the WHERE clause holds to one value: an index has the others behind it."""
    constants = {
        hash(fact.column)
        for fact in froms.fixed
        if fact.by is None and fact.column.table not in froms.optional
    }
    return [column for column in columns if hash(column) not in constants]


def groups_of(statement: Select[Any]) -> Iterator[Expression]:
    """Yield what the statement groups by, names resolved."""
    for clause in statement._group_by_clauses:
        # SQLAlchemy keeps an entity and a function as lists of their columns.
        clauses = clause.clauses if isinstance(clause, ClauseList) else [clause]
        yield from (resolved(part, statement) for part in clauses)


def _groups_several_ways(group: Expression) -> bool:
    return isinstance(group, FunctionElement) and group.name in _GROUPING_SETS


def is_repeating(statement: CompoundSelect[Any]) -> bool:
    """Whether the compound may hold a row twice: UNION ALL and its like."""
    return statement.keyword in _ALL


def is_one_row(statement: Select[Any]) -> bool:
    """Whether the statement aggregates without GROUP BY."""
    selected = statement.selected_columns
    return not statement._group_by_clauses and any(_calls(_AGGREGATE, item) for item in selected)


def _calls(names: re.Pattern[str], expression: ClauseElement) -> bool:
    if isinstance(expression, Over | ScalarSelect):
        return False
    if isinstance(expression, FunctionElement) and names.fullmatch(expression.name):
        return True
    return any(_calls(names, child) for child in expression.get_children())


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
    key = None if table is None else _key(table)
    return key is not None and all(hash(column) in hashes for column in key)


def _key(source: FromClause) -> list[Expression] | None:
    """Return the columns that no two rows of a row source share, if there are any."""
    inner = source.element if isinstance(source, AliasedReturnsRows) else source
    if isinstance(inner, Table):
        return list(source.primary_key) or None
    if isinstance(inner, CompoundSelect):
        return None if is_repeating(inner) else list(source.c)
    if not isinstance(inner, Select):
        return None
    identity = row_identity(inner, read_froms(inner))
    exported = [source.corresponding_column(column) for column in identity.columns]  # type: ignore[arg-type]
    if not identity.is_unique or any(column is None for column in exported):
        return None
    return [column for column in exported if column is not None]


def _keys(froms: Froms, preferred: Collection[FromClause | None]) -> list[FromClause]:
    """Leave out each source that the others fix, the last ones first.

    A nameless source that nothing fixes stays, but fixes nothing: its columns tell no rows apart.
    """
    free = _without_fixed(froms.nameless, froms.sources, froms)
    loose = [source for source in free if source in froms.nameless]
    named = [source for source in froms.sources if source not in froms.nameless]
    others = [source for source in froms.sources if source not in loose]
    first = [source for source in reversed(named) if source not in preferred]
    last = [source for source in reversed(named) if source in preferred]
    return [*_without_fixed([*first, *last], others, froms, named), *loose]


def _without_fixed(
    candidates: Iterable[FromClause],
    sources: list[FromClause],
    froms: Froms,
    keys: list[FromClause] | None = None,
) -> list[FromClause]:
    """Leave out of the keys, or of all sources, each candidate without which all are known."""
    keys = list(sources if keys is None else keys)
    for source in candidates:
        rest = [key for key in keys if key is not source]
        if _reaches_all(rest, sources, froms):
            keys = rest
    return keys


def _reaches_all(keys: list[FromClause], sources: list[FromClause], froms: Froms) -> bool:
    known = list(keys)
    pending = [source for source in sources if source not in known]
    while pending:
        found = [source for source in pending if _is_fixed(source, known, froms)]
        if not found:
            return False
        known.extend(found)
        pending = [source for source in pending if source not in found]
    return True


def _is_fixed(source: FromClause, known: list[FromClause], froms: Froms) -> bool:
    """Whether one row of the source at most goes with rows of those that are known."""
    determined = {
        fact.column.key
        for fact in froms.fixed
        if fact.column.table == source and (fact.by is None or fact.by in known)
    }
    return any(determined.issuperset(names) for names in _unique_names(source))


def _unique_names(source: FromClause) -> Iterator[set[str]]:
    """Yield the names of columns of which no two rows share all values, none of them NULL."""
    key = _key(source)
    if key:
        yield {str(column.key) for column in key}
    inner = source.element if isinstance(source, AliasedReturnsRows) else source
    if isinstance(inner, Table):
        for constraint in inner.constraints:
            if isinstance(constraint, UniqueConstraint) and len(constraint.columns):
                yield {column.key for column in constraint.columns}
