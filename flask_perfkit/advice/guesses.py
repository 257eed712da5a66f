"""The same statements for telling values: an audit asks for what it finds first.

An index that sorts is worth nothing to an owner of three rows, and much to one of three thousand.
An index on a state is worth nothing to one that half of the rows have, and much to a rare one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isqrt
from typing import Any

from sqlalchemy import literal
from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.elements import BinaryExpression, BindParameter, ColumnClause
from sqlalchemy.sql.selectable import Select

from flask_perfkit.advice.asked import plain_dialect
from flask_perfkit.advice.planners.planner import FEW_VALUES, Planner
from flask_perfkit.advice.statement.terms import column_of, replaced, table_of, unwrapped
from flask_perfkit.advice.workload import VARIES, RecordedStatement, Sample
from flask_perfkit.faults import log_once

_PART = 10
"""One request in so many is counted as one for these values."""

Values = Mapping[BindParameter[Any], BindParameter[Any]]


class Guesses:
    """Asks statements for other values than those that were recorded."""

    def __init__(self, planner: Planner) -> None:
        self._planner = planner
        self._known: dict[tuple[Any, str], list[Any]] = {}

    def of(self, recorded: RecordedStatement) -> Iterator[RecordedStatement]:
        """Yield a select with other values of the columns that it compares with one.

        They are two frequent ones of columns that have many values, and the rarest of those that
        have few. A state that no request named and that never varied stands in the code: it stays.
        """
        if recorded.is_text or not isinstance(recorded.tree, Select) or not recorded.samples:
            return
        try:
            for values in self._values(recorded):
                yield _asked_for(recorded, values)
        except Exception:
            log_once("asking for telling values")

    def _values(self, recorded: RecordedStatement) -> Iterator[Values]:
        """Yield values to ask for, each in the place of a parameter."""
        found: dict[BindParameter[Any], list[BindParameter[Any]]] = {}
        for clause in visitors.iterate(recorded.tree):
            column, bind = _compared(clause) or (None, None)
            if column is None or bind is None:
                continue
            name = recorded.compiled.bind_names.get(bind)
            varies = recorded.constants.get(name) is VARIES
            values = self._values_of(column, recorded, varies=varies)
            if values:  # as the column has them: a number may have been compared with a text
                found[bind] = [literal(value, column.type) for value in values]
        for number in range(max(map(len, found.values()), default=0)):
            yield {bind: values[min(number, len(values) - 1)] for bind, values in found.items()}

    def _values_of(
        self, column: ColumnClause[Any], recorded: RecordedStatement, *, varies: bool
    ) -> list[Any]:
        """Return the values of a column that tell most, as Python has them."""
        table, name = table_of(column.table), column_of(column)
        if table is None or name is None or self._planner.facts(table) is None:
            return []
        is_state = self._planner.values(table, name) <= FEW_VALUES
        if is_state and not varies:
            return []
        if (table, name) not in self._known:
            values = self._planner.by_frequency(table, name)
            # Of a middling one the rows are many, and yet do not come soon in another order.
            middle = isqrt(max(len(values) - 1, 0))
            frequent = [*values[:1], *values[max(middle, 1) : middle + 1]]
            self._known[table, name] = values[-1:] if is_state else frequent
        dialect = recorded.engine.dialect
        process = column.type.dialect_impl(dialect).result_processor(dialect, None)
        known = self._known[table, name]
        return known if process is None else list(map(process, known))


def _asked_for(recorded: RecordedStatement, values: Values) -> RecordedStatement:
    """Return a statement with some values in the place of its own."""
    sample, names = recorded.samples[-1], recorded.compiled.bind_names
    guessed: list[BindParameter[Any]] = []

    def instead(element: Any) -> Any:
        if not isinstance(element, BindParameter) or element.expanding:
            return None
        name = names.get(element)
        value = values.get(element)
        if value is None:
            value = literal(sample.values.get(name), element.type)
        if element in values or recorded.constants.get(name) is VARIES:
            guessed.append(value)
        return value

    tree = replaced(recorded.tree, instead)
    dialect = plain_dialect(recorded.engine.dialect)
    compiled = tree.compile(dialect=dialect)
    sql = str(tree.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    found = RecordedStatement(
        compiled.string,
        recorded.engine,
        compiled,
        recorded.endpoint,
        recorded.place,
        is_guess=True,
    )
    found.add(Sample(sql, None, dict(compiled.params), 0.0), 0, 0)
    found.constants |= {compiled.bind_names[bind]: VARIES for bind in guessed}
    found.count = max(recorded.count // _PART, 1)
    return found


def _compared(clause: Any) -> tuple[ColumnClause[Any], BindParameter[Any]] | None:
    """Return column and value of an equality between them."""
    if not isinstance(clause, BinaryExpression) or clause.operator is not operators.eq:
        return None
    column, bind = unwrapped(clause.left), unwrapped(clause.right)
    if isinstance(column, BindParameter):
        column, bind = bind, column
    if not (isinstance(column, ColumnClause) and isinstance(bind, BindParameter)):
        return None
    return column, bind
