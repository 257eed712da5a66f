"""Needs: what one SELECT, UPDATE or DELETE asks of one table, in the terms of an index."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from sqlalchemy import Table
from sqlalchemy.sql import visitors
from sqlalchemy.sql.dml import Delete, Update
from sqlalchemy.sql.elements import ColumnClause
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.selectable import Join, Select

from flask_perfkit.advice.statement.conditions import Condition, Kind, alternatives, conditions_of
from flask_perfkit.advice.statement.order import OrderKey, order_of
from flask_perfkit.advice.statement.terms import (
    Scope,
    column_of,
    columns_of,
    froms_of,
    table_of,
    unwrapped,
)


class Fixed(NamedTuple):
    """A condition whose values never vary: it can be the WHERE of a partial index."""

    sql: str
    columns: frozenset[str]


@dataclass(eq=False)
class Need:
    """What one statement asks of one table.

    ``columns`` are all columns of the table that the statement reads; ``limited`` tells that it
    wants the first rows only.
    """

    table: Table
    columns: frozenset[str]
    limited: bool = False
    conditions: list[Condition] = field(default_factory=list)
    order: tuple[OrderKey, ...] = ()
    grouped: tuple[OrderKey, ...] = ()

    def of(self, *kinds: Kind) -> list[Condition]:
        """Return the conditions of some kinds, each term once."""
        chosen = {one.term: one for one in reversed(self.conditions) if one.kind in kinds}
        return list(reversed(chosen.values()))

    @property
    def shape(self) -> tuple[object, ...]:
        """What makes two needs alike for any index."""
        conditions = tuple((one.kind, one.term, one.fixed) for one in self.conditions)
        keys = (self.order, self.grouped)
        return self.table, self.columns, self.limited, conditions, keys

    @cached_property
    def named(self) -> frozenset[str]:
        """The columns that conditions, order and groups name."""
        terms = [one.term for one in self.conditions]
        terms += [key.term for key in (*self.order, *self.grouped)]
        return frozenset[str]().union(*(term.columns for term in terms))

    @cached_property
    def fixed(self) -> list[Fixed]:
        """The conditions that could be the WHERE of a partial index."""
        return [
            Fixed(one.fixed, one.term.columns) for one in self.conditions if one.fixed is not None
        ]


def needs_of(tree: Any, scope: Scope) -> Iterator[Need]:
    """Yield what a statement asks of each table, subqueries and CTEs included."""
    for part in visitors.iterate(tree):
        if isinstance(part, Select):
            yield from _needs_of_select(part, scope)
        elif isinstance(part, Update | Delete):
            yield from _needs_of_write(part, scope)


def _needs_of_select(select: Select[Any], scope: Scope) -> Iterator[Need]:
    froms = froms_of(select)
    clauses = [*select._where_criteria, *(on for each in froms for on in _on_clauses(each))]
    asked = [*select._raw_columns, *clauses, *select._order_by_clauses, *select._group_by_clauses]
    limited = select._limit_clause is not None or select._fetch_clause is not None
    order = None if select._group_by_clauses else order_of(select._order_by_clauses, scope)
    grouped = order_of(select._group_by_clauses or _distinct(select), scope)
    extreme = _extreme(select, scope)
    if extreme is not None:
        order, limited = extreme, True
    for arms in alternatives(clauses):
        for occurrence, need in _occurrences(asked, froms).items():
            need.limited = limited
            need.conditions = list(conditions_of(occurrence, arms, scope))
            need.order = order[1] if order and order[0] == occurrence else ()
            need.grouped = grouped[1] if grouped and grouped[0] == occurrence else ()
            yield need


def _needs_of_write(write: Update | Delete, scope: Scope) -> Iterator[Need]:
    clauses = list(write._where_criteria)
    for arms in alternatives(clauses):
        for occurrence, need in _occurrences(clauses, [write.table]).items():
            need.conditions = list(conditions_of(occurrence, arms, scope))
            need.columns = frozenset(need.table.columns.keys())  # the row itself is visited
            yield need


def _occurrences(asked: list[Any], froms: Any) -> dict[Any, Need]:
    """Return an empty need for each place where a table stands in a statement."""
    read: dict[Any, set[str]] = {each: set() for one in froms for each in _leaves(one)}
    for element in asked:
        for each in [element, *columns_of(element)]:
            if isinstance(each, ColumnClause) and table_of(each.table) is not None:
                read.setdefault(each.table, set()).add(column_of(each) or "")
            elif table_of(each) is not None:  # an entity or a table: all its columns
                read.setdefault(each, set()).update(column.name for column in each.columns)
    needs = {}
    for occurrence, names in read.items():
        table = table_of(occurrence)
        if table is not None:
            needs[occurrence] = Need(table, frozenset(names - {""}))
    return needs


def _leaves(from_: Any) -> Iterator[Any]:
    if isinstance(from_, Join):
        yield from _leaves(from_.left)
        yield from _leaves(from_.right)
    else:
        yield from_


def _on_clauses(from_: Any) -> Iterator[Any]:
    if isinstance(from_, Join):
        yield from _on_clauses(from_.left)
        yield from _on_clauses(from_.right)
        yield from_.onclause


def _distinct(select: Select[Any]) -> tuple[Any, ...]:
    if not select._distinct:
        return ()
    return tuple(select._distinct_on or select._raw_columns)


def _extreme(select: Select[Any], scope: Scope) -> tuple[Any, tuple[OrderKey, ...]] | None:
    """Read ``max(column)`` alone as the first row of an order, which is how planners answer it."""
    if len(select._raw_columns) != 1 or select._group_by_clauses:
        return None
    function = unwrapped(select._raw_columns[0])
    if not isinstance(function, FunctionElement) or function.name not in ("max", "min"):
        return None
    return order_of(tuple(function.clauses), scope)
