"""What databases do differently when rows are put in order and compared."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from sqlalchemy import Dialect

    from flask_perfkit.pagination.order.terms import Term


class Ways(NamedTuple):
    """How a database orders and compares.

    :param nulls_are_largest: where NULLs stand unless the ORDER BY says so.
    :param writes_nulls_first: whether it knows NULLS FIRST and NULLS LAST.
    :param ranges_rows: whether ``(a, b) < (x, y)`` is one range of an index;
        then a UNION ALL of limited ranges is as flat.
    :param stops_at_ties: whether the range ends before the last column where that
        is SQLite's rowid; then it must not begin within many equal rows.
    :param has_groups: whether HAVING knows each expression that is grouped by; MariaDB knows
        columns and what is selected.
    :param reads_text_as_any_type: whether a text is read as the type that it is compared with.
    :param rounds_intervals: whether the driver makes days of an interval's months.
    :param floats_are_double: whether no column holds floats of less precision.
    :param enums_are_numbers: whether an ENUM is sorted by the position of its
        value, but compared with a text as a text.
    """

    nulls_are_largest: bool = False
    writes_nulls_first: bool = False
    ranges_rows: bool = False
    stops_at_ties: bool = False
    has_groups: bool = False
    reads_text_as_any_type: bool = False
    rounds_intervals: bool = False
    floats_are_double: bool = False
    enums_are_numbers: bool = False

    def nulls_come_last(self, term: Term) -> bool:
        """Whether the term's NULLs follow its values."""
        if term.nulls is not None:
            return term.nulls == "last"
        return self.nulls_are_largest != term.descending

    def order_by(self, term: Term) -> list[Any]:
        """Return the term as it stands in an ORDER BY."""
        plain = replace(term, nulls=None)
        if self.writes_nulls_first or term.nulls is None:
            return [term.clause()]
        if self.nulls_come_last(plain) == (term.nulls == "last"):
            return [plain.clause()]
        is_null = term.value.is_(None)
        return [is_null.asc() if term.nulls == "last" else is_null.desc(), plain.clause()]


_WAYS = {
    "postgresql": Ways(
        nulls_are_largest=True,
        writes_nulls_first=True,
        ranges_rows=True,
        has_groups=True,
        reads_text_as_any_type=True,
    ),
    "sqlite": Ways(
        writes_nulls_first=True,
        ranges_rows=True,
        stops_at_ties=True,
        has_groups=True,
        floats_are_double=True,
    ),
    "mysql": Ways(enums_are_numbers=True),
    "mariadb": Ways(enums_are_numbers=True),
}


def ways_of(dialect: Dialect) -> Ways:
    """Return the ways of a database; of one we do not know, those of plain SQL."""
    ways = _WAYS.get(dialect.name, Ways())
    if dialect.driver == "asyncpg":  # it turns values into the types that the server names
        return ways._replace(reads_text_as_any_type=False, rounds_intervals=True)
    return ways
