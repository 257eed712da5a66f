"""Pages by a cursor: the rows beyond a place in the order, found by an index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from marshmallow import ValidationError
from sqlalchemy import and_

from flask_perfkit.errors import ParameterError
from flask_perfkit.pagination.cursor.token import CursorPosition
from flask_perfkit.pagination.http.values import field_of
from flask_perfkit.pagination.pages import CursorPage
from flask_perfkit.pagination.places import Places
from flask_perfkit.pagination.statement.layout import lay_out
from flask_perfkit.pagination.statement.page import rows_beyond, values_at
from flask_perfkit.pagination.statement.totals import count_rows

if TYPE_CHECKING:
    from flask_perfkit.pagination.http.params import CursorParams
    from flask_perfkit.pagination.order.sortable import Ordered
    from flask_perfkit.pagination.order.terms import Expression
    from flask_perfkit.pagination.statement.layout import Laid
    from flask_perfkit.pagination.statement.rows import Source
    from flask_perfkit.pagination.statement.statement import AnySelect
    from flask_perfkit.pagination.statement.totals import Total
    from flask_perfkit.pagination.statement.visibility import Shown


class _Part(NamedTuple):
    """A part of the list, in its order.

    :param values: the sort values of each item.
    :param after: the place behind the last item; None where there is neither item nor cursor.
    :param before: the place in front of the first one.
    """

    items: list[Any]
    values: list[tuple[Any, ...]]
    after: CursorPosition | None
    before: CursorPosition | None
    has_next: bool
    has_previous: bool


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
    laid = lay_out(ordered, source.bind.dialect, for_cursor=True)
    places = Places.of(laid, source, shown)
    if params.around is not None:
        part = _around(source, laid, params.around, params.page_size)
    else:
        place = places.read(params.cursor) if params.cursor else None
        part = _beyond(source, laid, place, params.page_size)
    count = count_rows(source, statement, total)
    return CursorPage(
        part.items,
        params.page_size,
        next_cursor=places.write(part.after) if part.has_next else None,
        previous_cursor=places.write(part.before) if part.has_previous else None,
        total=count.number,
        total_is_capped=count.is_capped,
        write_end=lambda: places.write(part.after),
        write_all=lambda: [
            places.write(CursorPosition(False, False, values)) for values in part.values
        ],
    )


def _beyond(source: Source, laid: Laid, place: CursorPosition | None, size: int) -> _Part:
    backward = place is not None and place.backward
    rows = rows_beyond(source, laid, place, size + 1)
    items = rows.items(size)
    if place is not None and not items:
        return _emptied(source, laid, place)
    values = rows.added(size)
    goes_on = len(rows) > size
    # What lies where the cursor came from need not be looked up: its row, or one beside it.
    came_from = place is not None
    if backward:
        return _part(items[::-1], values[::-1], has_next=came_from, has_previous=goes_on)
    return _part(items, values, has_next=goes_on, has_previous=came_from)


def _part(
    items: list[Any], values: list[tuple[Any, ...]], *, has_next: bool, has_previous: bool
) -> _Part:
    if not items:
        return _Part([], [], None, None, False, False)
    first, last = values[0], values[-1]
    is_tied = first[:-1] == last[:-1]
    after, before = CursorPosition(False, is_tied, last), CursorPosition(True, is_tied, first)
    return _Part(items, values, after, before, has_next, has_previous)


def _emptied(source: Source, laid: Laid, place: CursorPosition) -> _Part:
    """Return the way back from a place beyond which there are no rows any more."""
    back = place._replace(backward=not place.backward, inclusive=not place.inclusive)
    is_there = len(rows_beyond(source, laid, back, 1)) > 0
    after, before = (back, place) if place.backward else (place, back)
    return _Part(
        [],
        [],
        after,
        before,
        has_next=is_there and place.backward,
        has_previous=is_there and not place.backward,
    )


def _around(source: Source, laid: Laid, key: Any, size: int) -> _Part:
    """Return the part that has the item of that key in its middle."""
    values = values_at(source, laid, _is_item(laid, key))
    if values is None:
        raise ParameterError({"around": ["There is no such item in this list."]})
    half = size // 2
    rows_before = rows_beyond(source, laid, CursorPosition(True, False, values), half + 1)
    items_before = rows_before.items(half)
    place = CursorPosition(False, False, values, inclusive=True)
    left = size - len(items_before)
    rows = rows_beyond(source, laid, place, left + 1)
    items = rows.items(left)
    values_before = rows_before.added(half)
    return _part(
        [*items_before[::-1], *items],
        [*values_before[::-1], *rows.added(left)],
        has_next=len(rows) > left,
        has_previous=len(rows_before) > half,
    )


def _is_item(laid: Laid, key: Any) -> Expression:
    """Return the condition that a row is the item of that key.

    :raises ValueError: the rows of the query have no key.
    :raises ParameterError: the value is none that the key can have.
    """
    identity = laid.layout.identity
    if not laid.layout.finds_by_key:
        raise ValueError("around needs rows with a key: no GROUP BY, DISTINCT, UNION or LIMIT")
    parts = key if isinstance(key, tuple) else (key,)
    if len(parts) != len(identity):
        raise ParameterError({"around": [f"Must be {len(identity)} values, the key of a row."]})
    return and_(
        *(column == _read(part, column) for part, column in zip(parts, identity, strict=True))
    )


def _read(value: Any, column: Expression) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return field_of("around", column.type).deserialize(value)
    except ValidationError as error:
        raise ParameterError({"around": [str(message) for message in error.messages]}) from None
