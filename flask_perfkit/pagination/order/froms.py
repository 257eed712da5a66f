"""The tables that a statement's rows are made of: how they are joined and what the joins fix."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import BindParameter, BooleanClauseList, FromClause, Join, SelectBase, func
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BinaryExpression, ColumnClause, Grouping
from sqlalchemy.sql.selectable import AliasedReturnsRows, FromGrouping

if TYPE_CHECKING:
    from sqlalchemy import Select


class Fixed(NamedTuple):
    """A column of which one value only remains once a row of ``by`` is known (None: always)."""

    column: ColumnClause[Any]
    by: FromClause | None


@dataclass
class Froms:
    """What a statement reads from.

    :param sources: tables, aliases and subqueries, from left to right.
    :param optional: those of them that outer joins fill up with NULLs.
    :param nameless: those that each compilation makes anew, such as the association table of
        a many-to-many: no column of them can be named outside of it.
    """

    sources: list[FromClause] = field(default_factory=list)
    optional: list[FromClause] = field(default_factory=list)
    nameless: list[FromClause] = field(default_factory=list)
    fixed: list[Fixed] = field(default_factory=list)


def read_froms(statement: Select[Any]) -> Froms:
    """Read the joins and the equalities in the WHERE clause of a statement."""
    froms = Froms()
    for source in final_froms(statement):
        _read(source, froms)
    for criterion in conditions(statement):
        froms.fixed.extend(_equality(criterion))
    if any(isinstance(source, AliasedReturnsRows) for source in froms.sources):
        again = Froms()
        for source in final_froms(statement):
            _read(source, again)
        froms.nameless = [source for source in froms.sources if source not in again.sources]
    return froms


def require_read(expressions: Iterable[Any], froms: Froms, what: str) -> None:
    """Refuse columns of tables that the statement does not read with a ValueError.

    In the FROM they would make the product of the tables.
    """
    for expression in expressions:
        for column in columns_of(expression):
            if column.table is not None and column.table not in froms.sources:
                table = getattr(column.table, "name", column.table)
                raise ValueError(
                    f"{what} uses {table}.{column.key}, but the query does not read {table}: "
                    "join it in the query, or name the relationship that leads there, as in "
                    "(Document.user, User.name)"
                )


def columns_of(expression: Any) -> Iterator[ColumnClause[Any]]:
    """Yield the columns in an expression but not those of the subqueries in it."""
    if isinstance(expression, SelectBase):
        return
    if isinstance(expression, ColumnClause):
        yield expression
    for child in expression.get_children():
        yield from columns_of(child)


def final_froms(statement: Select[Any]) -> list[FromClause]:
    """Return the FROM list, ORM joins made."""
    # Counting keeps the joins that multiply rows and drops those of eager loading.
    counting = statement.with_only_columns(func.count(), maintain_column_froms=True)
    froms = counting.order_by(None).group_by(None).get_final_froms()
    return [source for source in froms if isinstance(source, FromClause)]


def conditions(statement: Select[Any]) -> Iterator[Any]:
    """Yield what the WHERE clause demands, AND by AND."""
    for criterion in statement._where_criteria:
        yield from _flat(criterion)


def _flat(criterion: Any) -> Iterator[Any]:
    if isinstance(criterion, Grouping):
        yield from _flat(criterion.element)
    elif isinstance(criterion, BooleanClauseList) and criterion.operator is operators.and_:
        for clause in criterion.clauses:
            yield from _flat(clause)
    else:
        yield criterion


def _read(source: FromClause, froms: Froms) -> None:
    if isinstance(source, FromGrouping):
        _read(source.element, froms)
    elif isinstance(source, Join):
        _read_join(source, froms)
    else:
        froms.sources.append(source)


def _read_join(join: Join, froms: Froms) -> None:
    start = len(froms.sources)
    _read(join.left, froms)
    middle = len(froms.sources)
    _read(join.right, froms)
    left, right = froms.sources[start:middle], froms.sources[middle:]
    if join.full:
        froms.optional.extend(left)
    if join.full or join.isouter:
        froms.optional.extend(right)
    if join.full or join.onclause is None:
        return
    for criterion in _flat(join.onclause):
        for fact in _equality(criterion):
            # A row of the left side that matches nothing is still there.
            if not join.isouter or fact.column.table in right:
                froms.fixed.append(fact)


def _equality(criterion: Any) -> Iterator[Fixed]:
    if isinstance(criterion, BinaryExpression) and criterion.operator is operators.eq:
        for side, other in (
            (criterion.left, criterion.right),
            (criterion.right, criterion.left),
        ):
            if isinstance(side, ColumnClause) and isinstance(other, ColumnClause | BindParameter):
                yield Fixed(side, other.table if isinstance(other, ColumnClause) else None)
