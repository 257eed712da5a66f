"""Which rows lie beyond a place in an order, in the form that each database finds by an index."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import and_, false, or_, tuple_
from sqlalchemy.sql.elements import ColumnClause

from flask_perfkit.pagination.order.keys import bound_key, compared, read_key
from flask_perfkit.pagination.order.terms import Term, require_lasting

if TYPE_CHECKING:
    from flask_perfkit.pagination.cursor.token import CursorPosition
    from flask_perfkit.pagination.order.dialects import Ways
    from flask_perfkit.pagination.order.terms import Expression


class Keyset:
    """The terms of an order as columns to read and as conditions to meet."""

    def __init__(self, terms: Sequence[Term], nullable: Sequence[bool], ways: Ways) -> None:
        for term in terms:
            require_lasting(term)
        self.columns = [
            read_key(term.value, ways).label(f"perfkit_key_{number}")
            for number, term in enumerate(terms)
        ]
        self.forward = Direction(terms, nullable, ways)
        self.backward = Direction([term.reversed() for term in terms], nullable, ways)

    def found_by(
        self, positions: Sequence[int], values: Sequence[Any]
    ) -> tuple[Expression, dict[str, Any]]:
        """Return the condition that these terms have these values, and its parameters."""
        return self.forward.equal(positions), self.forward.named(positions, values)


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
                term.value,
                compared(term.value),
                name := f"perfkit_key_{number}",
                bound_key(name, term.value, ways),
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

    def bound(self, place: CursorPosition) -> Expression | None:
        """Return what the first term of all rows beyond the place has in common, if anything.

        An index has that where a condition over several terms, with its OR, is none of its ranges.
        """
        key, value = self._keys[0], place.values[0]
        if value is None:
            return key.value.is_(None) if key.nulls_last else None
        bound = _COMPARISONS[key.descending, True](key.value, key.bind)
        if key.nullable and key.nulls_last:
            return or_(bound, key.value.is_(None))
        found: Expression = bound
        return found

    def shape_of(self, place: CursorPosition) -> Shape:
        """Return what the ranges for a place depend on beside its values."""
        return Shape(
            tuple(value is None for value in place.values),
            place.is_tied and self._ways.stops_at_ties,
            place.inclusive,
        )

    def equal(self, positions: Sequence[int]) -> Expression:
        """Return the condition that these terms have the values of :meth:`named`."""
        return and_(*(self._keys[at].value == self._keys[at].bind for at in positions))

    def named(self, positions: Sequence[int], values: Sequence[Any]) -> dict[str, Any]:
        """Return the values of these terms by the names that conditions have for them."""
        pairs = zip(positions, values, strict=True)
        return {self._keys[at].name: value for at, value in pairs}

    def parameters(self, place: CursorPosition) -> dict[str, Any]:
        """Return the values by the names that the conditions have for them."""
        return {
            key.name: value
            for key, value in zip(self._keys, place.values, strict=True)
            if value is not None
        }

    def _order_by(self, start: int) -> list[Any]:
        return [clause for term in self.terms[start:] for clause in self._ways.order_by(term)]


class Shape(NamedTuple):
    """Which values of a place are NULL, and whether its range ends before the last term.

    :param inclusive: whether the row at the place itself is meant too.
    """

    is_null: tuple[bool, ...]
    is_split: bool
    inclusive: bool


class _Key(NamedTuple):
    """One term, as rows are compared by it."""

    column: Expression
    value: Expression
    name: str
    bind: Expression
    descending: bool
    nullable: bool
    nulls_last: bool


def _ranges(keys: list[_Key], shape: Shape, ranges_rows: bool) -> Iterator[tuple[Expression, int]]:
    """Yield each range with the number of leading keys in which its rows are the same.

    The last keys differ first: a range holds rows that are equal to the place
    in the keys before ``start`` and beyond it in those from there to ``end``.
    """
    is_null, end = shape.is_null, len(keys)
    if shape.inclusive and is_null[-1]:
        yield and_(*_equal(keys, is_null)), 0
    while end:
        start = end - 1
        if ranges_rows and not (shape.is_split and end == len(keys)):
            start = _run_start(keys, is_null, end)
        if not is_null[start]:
            with_place = shape.inclusive and end == len(keys)
            yield and_(*_equal(keys[:start], is_null), *_beyond(keys[start:end], with_place)), start
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


def _beyond(keys: list[_Key], with_place: bool) -> Iterator[Expression]:
    """Yield conditions that together mean the rows beyond a place in these keys."""
    left, right = [key.value for key in keys], [key.bind for key in keys]
    compare = _COMPARISONS[keys[0].descending, with_place]
    if len(keys) == 1:
        yield compare(left[0], right[0])
        return
    if not _is_one_index(keys):
        # No index has such a row value, but one may have its first column.
        yield _COMPARISONS[keys[0].descending, True](left[0], right[0])
    yield compare(tuple_(*left), tuple_(*right))


def _is_one_index(keys: list[_Key]) -> bool:
    """Whether the row value is a range of an index in each database that knows such ranges."""
    columns = [key.column for key in keys]
    tables = {column.table for column in columns if isinstance(column, ColumnClause)}
    return len(tables) == 1 and all(isinstance(column, ColumnClause) for column in columns)


_COMPARISONS: dict[tuple[bool, bool], Callable[[Any, Any], Any]] = {
    (False, False): operator.gt,
    (False, True): operator.ge,
    (True, False): operator.lt,
    (True, True): operator.le,
}
