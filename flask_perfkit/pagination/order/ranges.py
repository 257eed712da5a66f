"""Which rows lie beyond a place in an order, in the form that each database finds by an index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import (
    Double,
    Enum,
    Float,
    Integer,
    and_,
    bindparam,
    cast,
    false,
    tuple_,
    type_coerce,
)
from sqlalchemy.sql.elements import ColumnClause, Grouping
from sqlalchemy.types import UserDefinedType

from flask_perfkit.pagination.order.terms import Term, require_lasting

if TYPE_CHECKING:
    from sqlalchemy import BindParameter

    from flask_perfkit.pagination.cursor.token import CursorPosition
    from flask_perfkit.pagination.order.dialects import Ways
    from flask_perfkit.pagination.order.terms import Expression


class _AsStored(UserDefinedType[Any]):
    """A value as the driver returns and takes it, whatever type the column says it has.

    It goes there and back unchanged, which is more than Enum, Interval,
    TypeDecorator, Numeric on SQLite or the Integer of extract() promise.
    """

    cache_ok = True


_AS_STORED = _AsStored()


class Keyset:
    """The terms of an order as columns to read and as conditions to meet."""

    def __init__(self, terms: Sequence[Term], nullable: Sequence[bool], ways: Ways) -> None:
        for term in terms:
            require_lasting(term)
        self.columns = [
            _read(term, ways).label(f"perfkit_key_{number}") for number, term in enumerate(terms)
        ]
        self.forward = Direction(terms, nullable, ways)
        self.backward = Direction([term.reversed() for term in terms], nullable, ways)


class Range(NamedTuple):
    """Rows that follow each other in the order.

    :param order_by: the terms in which they differ; MariaDB would sort by the others too.
    """

    condition: Expression
    order_by: list[Any]


class Direction:
    """An order, forward or backward: its ORDER BY, and what lies beyond a place in it."""

    def __init__(self, terms: Sequence[Term], nullable: Sequence[bool], ways: Ways) -> None:
        self.terms = terms
        self._ways = ways
        self._keys = [
            _Key(
                type_coerce(_in_brackets(term.value), _AS_STORED),
                bindparam(f"perfkit_key_{number}", type_=_AS_STORED),
                term.descending,
                may_be_null,
                ways.nulls_come_last(term),
            )
            for number, (term, may_be_null) in enumerate(zip(terms, nullable, strict=True))
        ]
        self.order_by = self._order_by(0)
        self._kept: dict[Shape, list[Range]] = {}

    def ranges(self, place: CursorPosition) -> list[Range]:
        """Return ranges of which each row beyond the place is in one; the nearest comes first.

        Their conditions hold with :meth:`parameters` only.
        """
        shape = self.shape_of(place)
        if shape not in self._kept:
            found = [
                Range(condition, self._order_by(same))
                for condition, same in _ranges(self._keys, shape, self._ways.ranges_rows)
            ]
            self._kept[shape] = found or [Range(false(), self.order_by)]
        return self._kept[shape]

    def shape_of(self, place: CursorPosition) -> Shape:
        """Return what the ranges for a place depend on beside its values."""
        return Shape(
            tuple(value is None for value in place.values),
            place.is_tied and self._ways.stops_at_ties,
        )

    def parameters(self, place: CursorPosition) -> dict[str, Any]:
        """Return the values by the names that the conditions have for them."""
        return {
            key.bind.key: value
            for key, value in zip(self._keys, place.values, strict=True)
            if value is not None
        }

    def _order_by(self, start: int) -> list[Any]:
        return [clause for term in self.terms[start:] for clause in self._ways.order_by(term)]


class Shape(NamedTuple):
    """Which values of a place are NULL, and whether its range ends before the last term."""

    is_null: tuple[bool, ...]
    is_split: bool


class _Key(NamedTuple):
    """One term, as rows are compared by it."""

    value: Expression
    bind: BindParameter[Any]
    descending: bool
    nullable: bool
    nulls_last: bool


def _in_brackets(expression: Expression) -> Expression:
    """Keep together what an operator beside it would take apart, such as a NOT."""
    return expression if isinstance(expression, ColumnClause) else Grouping(expression)


def _read(term: Term, ways: Ways) -> Expression:
    kind = term.value.type
    if isinstance(kind, Enum) and kind.native_enum and ways.enums_are_numbers:
        return type_coerce(term.value, Integer) + 0
    # A single-precision column is compared with doubles by its exact value, not by its text.
    if isinstance(kind, Float) and not ways.floats_are_double:
        return cast(term.value, Double)
    return type_coerce(term.value, _AS_STORED)


def _ranges(keys: list[_Key], shape: Shape, ranges_rows: bool) -> Iterator[tuple[Expression, int]]:
    """Yield each range with the number of leading keys in which its rows are the same.

    The last keys differ first: a range holds rows that are equal to the place
    in the keys before ``start`` and beyond it in those from there to ``end``.
    """
    is_null, end = shape.is_null, len(keys)
    while end:
        start = end - 1
        if ranges_rows and not (shape.is_split and end == len(keys)):
            start = _run_start(keys, is_null, end)
        if not is_null[start]:
            yield and_(*_equal(keys[:start], is_null), _beyond(keys[start:end])), start
        for position in range(start, end):
            key, same = keys[position], _equal(keys[:position], is_null)
            if is_null[position] and not key.nulls_last:
                yield and_(*same, key.value.is_not(None)), position
            elif key.nullable and key.nulls_last and not is_null[position]:
                yield and_(*same, key.value.is_(None)), position + 1
        end = start


def _run_start(keys: list[_Key], is_null: Sequence[bool], end: int) -> int:
    """Return where the row value begins that ends with the key before ``end``."""
    start = end - 1
    while (
        start > 0
        and not is_null[start]
        and not is_null[start - 1]
        and keys[start - 1].descending == keys[start].descending
    ):
        start -= 1
    return start


def _equal(keys: list[_Key], is_null: Sequence[bool]) -> Iterator[Expression]:
    for key, null in zip(keys, is_null, strict=False):
        yield key.value.is_(None) if null else key.value == key.bind


def _beyond(keys: list[_Key]) -> Expression:
    left, right = [key.value for key in keys], [key.bind for key in keys]
    if len(keys) == 1:
        return left[0] < right[0] if keys[0].descending else left[0] > right[0]
    row, place = tuple_(*left), tuple_(*right)
    return row < place if keys[0].descending else row > place
