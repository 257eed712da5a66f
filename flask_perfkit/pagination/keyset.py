"""Pages by a cursor: the rows beyond a place in the order, found by an index."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Integer, bindparam, or_, select, union_all

from flask_perfkit.pagination.app import current_endpoint, current_secrets
from flask_perfkit.pagination.cursor import Place, read_cursor, write_cursor
from flask_perfkit.pagination.fingerprint import fingerprint
from flask_perfkit.pagination.layout import Laid, lay_out
from flask_perfkit.pagination.order import Term
from flask_perfkit.pagination.pages import CursorPage
from flask_perfkit.pagination.rows import Fetched
from flask_perfkit.pagination.sealing import require_sealing
from flask_perfkit.pagination.totals import count_rows
from flask_perfkit.pagination.visibility import hides_any

if TYPE_CHECKING:
    from sqlalchemy import BindParameter, Dialect, Label, Select

    from flask_perfkit.pagination.order import Expression
    from flask_perfkit.pagination.params import CursorParams
    from flask_perfkit.pagination.ranges import Direction, Range
    from flask_perfkit.pagination.rows import Source
    from flask_perfkit.pagination.statement import AnySelect
    from flask_perfkit.pagination.totals import Total

# By name, so that all statements of a shape share their compiled form.
_LIMIT: BindParameter[int] = bindparam("perfkit_limit", type_=Integer())


def keyset_page(
    source: Source,
    statement: AnySelect,
    terms: Sequence[Term],
    params: CursorParams,
    total: Total,
    dumped: Collection[str] | None,
) -> CursorPage:
    """Return the page that the cursor leads to, or the first one.

    :param dumped: the names that the response shows of an item; None for all.
    """
    laid = lay_out(statement, terms, source.bind.dialect.name, for_cursor=True)
    text = _Text.of(laid, source.bind.dialect, dumped)
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
    return CursorPage(
        items[::-1] if backward else items,
        params.page_size,
        next_cursor=text.write(Place(False, is_tied, last)) if has_next else None,
        previous_cursor=text.write(Place(True, is_tied, first)) if has_previous else None,
        total=count_rows(source, statement, total),
    )


def _ends(rows: Fetched, count: int) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    return (rows.added(0), rows.added(count - 1)) if count else ((), ())


class _Text(NamedTuple):
    """Writes and reads the cursors of one query."""

    fingerprint: bytes
    secrets: tuple[bytes, ...]
    is_sealed: bool

    @classmethod
    def of(cls, laid: Laid, dialect: Dialect, dumped: Collection[str] | None) -> _Text:
        is_sealed = hides_any(laid.layout.names, dumped)
        if is_sealed:
            require_sealing()
        return cls(_fingerprint(laid, dialect), current_secrets(), is_sealed)

    def write(self, place: Place) -> str:
        return write_cursor(place, self.fingerprint, self.secrets, sealed=self.is_sealed)

    def read(self, text: str) -> Place:
        return read_cursor(text, self.fingerprint, self.secrets)


def _fingerprint(laid: Laid, dialect: Dialect) -> bytes:
    layout, parameters = laid.layout, laid.parameters
    if layout.sql is None or parameters is None:
        compiled = laid.statement.order_by(*layout.order_by).compile(dialect=dialect)
        layout.sql = str(compiled)
        parameters = list(compiled.bind_names) if parameters is None else parameters
    return fingerprint(layout.sql, parameters, dialect, current_endpoint())


def _rows(source: Source, laid: Laid, place: Place | None, limit: int) -> Fetched:
    layout, statement = laid.layout, laid.statement
    keyset, parameters = layout.keyset, {_LIMIT.key: limit}
    columns, direction = keyset.columns, keyset.forward
    if place is None:
        page = statement.order_by(*direction.order_by)
    else:
        direction = keyset.backward if place.backward else direction
        ranges = direction.ranges(place)
        parameters |= direction.parameters(place)
        if len(ranges) == 1:
            page = _where(statement, ranges[0].condition).order_by(*ranges[0].order_by)
        elif layout.is_plain and layout.ways.ranges_rows:
            page, columns = _united(laid, ranges, direction)
        else:
            beyond = or_(*(part.condition for part in ranges))
            page = _where(statement, beyond).order_by(*direction.order_by)
    page = page.add_columns(*columns).limit(_LIMIT)
    return Fetched(source.execute(page, parameters), layout.items)


def _where(statement: Select[Any], condition: Expression) -> Select[Any]:
    if statement._group_by_clauses:
        return statement.having(condition)
    return statement.where(condition)


def _united(
    laid: Laid, ranges: Sequence[Range], direction: Direction
) -> tuple[Select[Any], list[Label[Any]]]:
    """Find the page's keys by one index range after the other, then the rows by their keys.

    An OR over the ranges would read the index from its beginning.
    """
    layout, statement = laid.layout, laid.statement
    keys = layout.keyset.columns
    narrow = statement.with_only_columns(*keys, maintain_column_froms=True)
    branches = [
        select(narrow.where(part.condition).order_by(*part.order_by).limit(_LIMIT).subquery())
        for part in ranges
    ]
    found = union_all(*branches).subquery("perfkit_page")
    columns = list(found.c)
    identity = {hash(column) for column in layout.identity}
    for term, nullable, column in zip(layout.terms, layout.nullable, columns, strict=True):
        if hash(term.value) in identity:
            # An outer join leaves a NULL where the other keys tell the row; = takes an index.
            same = term.value.is_not_distinct_from(column) if nullable else term.value == column
            statement = statement.where(same)
    order = [
        clause
        for term, column in zip(direction.terms, columns, strict=True)
        for clause in layout.ways.order_by(Term(column, term.descending, term.nulls))
    ]
    added = [column.label(f"perfkit_key_{number}") for number, column in enumerate(columns)]
    return statement.order_by(*order), added
