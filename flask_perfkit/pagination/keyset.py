"""Pages by a cursor: the rows beyond a place in the order, found by an index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Integer, bindparam, or_, select, tuple_, union_all

from flask_perfkit.pagination.app import current_endpoint, current_secrets
from flask_perfkit.pagination.cursor.fingerprint import (
    compiled_with_values,
    fingerprint,
    options_text,
    type_text,
)
from flask_perfkit.pagination.cursor.sealing import require_sealing
from flask_perfkit.pagination.cursor.token import CursorPosition, read_cursor, write_cursor
from flask_perfkit.pagination.pages import CursorPage
from flask_perfkit.pagination.statement.layout import Laid, PageStatement, lay_out
from flask_perfkit.pagination.statement.rows import Fetched
from flask_perfkit.pagination.statement.totals import count_rows
from flask_perfkit.pagination.statement.visibility import hides_any

if TYPE_CHECKING:
    from sqlalchemy import BindParameter, Select

    from flask_perfkit.pagination.http.params import CursorParams
    from flask_perfkit.pagination.order.ranges import Direction, Range
    from flask_perfkit.pagination.order.sortable import Ordered
    from flask_perfkit.pagination.order.terms import Expression
    from flask_perfkit.pagination.statement.rows import Source
    from flask_perfkit.pagination.statement.statement import AnySelect
    from flask_perfkit.pagination.statement.totals import Total
    from flask_perfkit.pagination.statement.visibility import Shown

# By name, so that all statements of a shape share their compiled form.
_LIMIT: BindParameter[int] = bindparam("perfkit_limit", type_=Integer())


def keyset_page(
    source: Source,
    statement: AnySelect,
    ordered: Ordered,
    params: CursorParams,
    total: Total,
    shown: Shown,
) -> CursorPage:
    """Return the page that the cursor leads to, or the first one.

    :param shown: what the response shows of an item.
    """
    laid = lay_out(ordered, source.bind.dialect.name, for_cursor=True)
    text = _Text.of(laid, source, shown)
    place = text.read(params.cursor) if params.cursor else None
    backward = place is not None and place.backward
    rows = _rows(source, laid, place, params.page_size + 1)
    items = rows.items(params.page_size)
    goes_on = len(rows) > params.page_size
    # What lies where the cursor came from need not be looked up: its row, or one beside it.
    came_from = place is not None and bool(items)
    has_next, has_previous = (came_from, goes_on) if backward else (goes_on, came_from)
    nearest, furthest = _ends(rows, len(items))
    first, last = (furthest, nearest) if backward else (nearest, furthest)
    is_tied = first[:-1] == last[:-1]
    count = count_rows(source, statement, total)
    return CursorPage(
        items[::-1] if backward else items,
        params.page_size,
        next_cursor=text.write(CursorPosition(False, is_tied, last)) if has_next else None,
        previous_cursor=text.write(CursorPosition(True, is_tied, first)) if has_previous else None,
        total=count.number,
        total_is_capped=count.is_capped,
    )


def _ends(rows: Fetched, count: int) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    return (rows.added(0), rows.added(count - 1)) if count else ((), ())


class _Text(NamedTuple):
    """Writes and reads the cursors of one query."""

    fingerprint: bytes
    secrets: tuple[bytes, ...]
    is_sealed: bool

    @classmethod
    def of(cls, laid: Laid, source: Source, shown: Shown) -> _Text:
        is_sealed = hides_any(laid.layout.terms, laid.layout.names, shown)
        if is_sealed:
            require_sealing()
        return cls(_fingerprint(laid, source), current_secrets(), is_sealed)

    def write(self, place: CursorPosition) -> str:
        return write_cursor(place, self.fingerprint, self.secrets, sealed=self.is_sealed)

    def read(self, text: str) -> CursorPosition:
        return read_cursor(text, self.fingerprint, self.secrets)


def _fingerprint(laid: Laid, source: Source) -> bytes:
    layout, values, dialect = laid.layout, laid.values, source.bind.dialect
    if layout.sql is None or values is None:
        ordered = laid.statement.order_by(*layout.order_by)
        sql, found = compiled_with_values(ordered, dialect)
        types = (type_text(term.value.type, dialect) for term in layout.terms)
        layout.sql = "\0".join((sql, *types))
        values = found if values is None else values
    options = options_text(source.options_of(laid.statement))
    return fingerprint(layout.sql, values, dialect, current_endpoint() or "", options)


def _rows(source: Source, laid: Laid, place: CursorPosition | None, limit: int) -> Fetched:
    page = _page(laid, place)
    parameters: dict[str, Any] = {_LIMIT.key: limit}
    if page.names:
        parameters |= zip(page.names, (item.value for item in laid.values or ()), strict=True)
    if place is not None:
        parameters |= laid.layout.keyset.forward.parameters(place)
    return Fetched(source.execute(page.statement, parameters), laid.layout.items)


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
        statement = _beyond(laid, direction, direction.ranges(place))
    statement = statement.add_columns(*keyset.columns).limit(_LIMIT)
    if not laid.is_as_before:
        return PageStatement(statement)
    page = PageStatement(statement, [item.parameter.key for item in laid.values or ()])
    laid.layout.pages[key] = page
    return page


def _beyond(laid: Laid, direction: Direction, ranges: Sequence[Range]) -> Select[Any]:
    """Select the rows of the ranges, in the form that is flat on this database."""
    if len(ranges) == 1:
        return _where(laid.statement, ranges[0].condition).order_by(*ranges[0].order_by)
    if laid.layout.finds_by_key and laid.layout.ways.ranges_rows:
        condition = _among(laid, ranges)
    else:
        condition = or_(*(part.condition for part in ranges))
    return _where(laid.statement, condition).order_by(*direction.order_by)


def _where(statement: Select[Any], condition: Expression) -> Select[Any]:
    if statement._group_by_clauses:
        return statement.having(condition)
    return statement.where(condition)


def _among(laid: Laid, ranges: Sequence[Range]) -> Expression:
    """Return the condition that a row is among the first of one of the ranges.

    Their keys are found by one index range after the other. An OR over the
    ranges would read the index from its beginning.
    """
    layout = laid.layout
    keys = laid.statement.with_only_columns(*layout.keyset.columns, maintain_column_froms=True)
    found = union_all(
        *(
            select(keys.where(part.condition).order_by(*part.order_by).limit(_LIMIT).subquery())
            for part in ranges
        )
    ).subquery()
    told_apart = {hash(column) for column in layout.identity}
    pairs = [
        (term.value, column)
        for term, column in zip(layout.terms, found.c, strict=True)
        if hash(term.value) in told_apart
    ]
    row, rows = [value for value, _ in pairs], select(*(column for _, column in pairs))
    return row[0].in_(rows) if len(row) == 1 else tuple_(*row).in_(rows)
