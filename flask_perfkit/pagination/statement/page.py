"""The statement of a page by a cursor: its rows lie beyond a place in the order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Integer, and_, bindparam, or_, select, tuple_, union_all

from flask_perfkit.pagination.statement.layout import Laid, PageStatement
from flask_perfkit.pagination.statement.rows import Fetched

if TYPE_CHECKING:
    from sqlalchemy import BindParameter, Select

    from flask_perfkit.pagination.cursor.token import CursorPosition
    from flask_perfkit.pagination.order.ranges import Direction, Range
    from flask_perfkit.pagination.order.terms import Expression
    from flask_perfkit.pagination.statement.rows import Source

# By name, so that all statements of a shape share their compiled form.
_LIMIT: BindParameter[int] = bindparam("perfkit_limit", type_=Integer())


def rows_beyond(source: Source, laid: Laid, place: CursorPosition | None, limit: int) -> Fetched:
    """Read the rows beyond a place, or the first ones; before each other row the nearest."""
    page = _page(laid, place)
    parameters: dict[str, Any] = {_LIMIT.key: limit}
    if page.names:
        parameters |= zip(page.names, (item.value for item in laid.values or ()), strict=True)
    if place is not None:
        parameters |= laid.layout.keyset.forward.parameters(place)
    return Fetched(source.execute(page.statement, parameters), laid.layout.items)


def values_at(
    source: Source,
    laid: Laid,
    condition: Expression,
    parameters: dict[str, Any] | None = None,
) -> tuple[Any, ...] | None:
    """Return the sort values of the row that meets a condition; None where none does."""
    columns = laid.layout.keyset.columns
    statement = laid.statement.with_only_columns(*columns, maintain_column_froms=True)
    row = source.execute(statement.where(condition).limit(1), parameters).first()
    return None if row is None else tuple(row)


def _page(laid: Laid, place: CursorPosition | None) -> PageStatement:
    """Return the statement of the page; one that ran before needs not be built again."""
    keyset = laid.layout.keyset
    direction = keyset.backward if place and place.backward else keyset.forward
    key = None if place is None else (place.backward, direction.shape_of(place))
    if laid.is_as_before and key in laid.layout.pages:
        return laid.layout.pages[key]
    if place is None:
        statement = laid.statement.order_by(*direction.order_by)
    else:
        statement = _beyond(laid, direction, place)
    statement = statement.add_columns(*keyset.columns).limit(_LIMIT)
    if not laid.is_as_before:
        return PageStatement(statement)
    page = PageStatement(statement, [item.parameter.key for item in laid.values or ()])
    laid.layout.pages[key] = page
    return page


def _beyond(laid: Laid, direction: Direction, place: CursorPosition) -> Select[Any]:
    """Select the rows beyond a place, in the form that is flat on this database."""
    ranges = direction.ranges(place)
    if len(ranges) == 1:
        return _where(laid.statement, ranges[0].condition).order_by(*ranges[0].order_by)
    if laid.layout.finds_by_key and laid.layout.ways.ranges_rows:
        conditions = [_among(laid, ranges)]
    else:
        bound = direction.bound(place)
        conditions = [] if bound is None else [bound]
        conditions.append(or_(*(part.condition for part in ranges)))
    return _where(laid.statement, and_(*conditions)).order_by(*direction.order_by)


def _where(statement: Select[Any], condition: Expression) -> Select[Any]:
    if statement._group_by_clauses:
        return statement.having(condition)
    return statement.where(condition)


def _among(laid: Laid, ranges: Sequence[Range]) -> Expression:
    """Return the condition that a row is among the first of one of the ranges.

    Their keys are found by one index range after the other. An OR over the
    ranges would read the index from its beginning.
    """
    identity = laid.layout.identity
    columns = [column.label(f"perfkit_id_{number}") for number, column in enumerate(identity)]
    keys = laid.statement.with_only_columns(*columns, maintain_column_froms=True)
    found = union_all(
        *(
            select(keys.where(part.condition).order_by(*part.order_by).limit(_LIMIT).subquery())
            for part in ranges
        )
    ).subquery()
    rows = select(*found.c)
    return identity[0].in_(rows) if len(identity) == 1 else tuple_(*identity).in_(rows)
