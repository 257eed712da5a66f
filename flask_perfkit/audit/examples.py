"""Values for the variables of a rule, from the database's own rows.

A variable is matched to a mapped column by names, as people who write routes choose them:
``/users/<int:id>``, ``/users/<int:user_id>/documents``, ``/posts/<slug>``. The values are those of
one row that many others refer to and of one that few do, so that an address is asked for with
much behind it and with little.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Mapper
from werkzeug.routing import Rule

from flask_perfkit.faults import log_once

if TYPE_CHECKING:
    from flask import Flask

_Column = sa.ColumnElement[Any]
_Target = tuple[Mapper[Any], _Column]
_Row = dict[str, Any]

_WORD = re.compile(r"[^\W_]+")
_NAMES_OF_KEYS = frozenset({"id", "pk", "key", "uid", "uuid", "number", "no", "ident"})
_MOST_STEPS = 2
"""References that are followed from a row to the one that it belongs to."""


class Examples:
    """Finds values in the database of an application, and remembers the rows that it found."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._db: Any = app.extensions.get("sqlalchemy")
        self._mappers = list(self._all_mappers())
        self._rows: dict[_Target, list[_Row]] = {}

    def of(self, rule: Rule) -> list[dict[str, Any]]:
        """Return the values of a rule's variables, for up to two rows; none where unknown."""
        wanted = [
            (name, self._column_of(name, word, rule.endpoint)) for name, word in _variables(rule)
        ]
        if not wanted or any(column is None for _, column in wanted):
            return []
        targets = [(name, cast(_Target, target)) for name, target in wanted]
        mapper, column = targets[-1][1]
        examples = []
        for row in self._rows_of(mapper, column):
            values = {name: self._value(target, mapper, row) for name, target in targets}
            if None not in values.values() and values not in examples:
                examples.append(values)
        return examples

    def _all_mappers(self) -> Iterator[Mapper[Any]]:
        if self._db is not None and hasattr(self._db, "Model"):
            mappers = self._db.Model.registry.mappers  # a set: sorted, two audits ask the same
            yield from sorted(mappers, key=lambda mapper: mapper.class_.__name__)

    def _column_of(self, name: str, word: str, endpoint: str) -> _Target | None:
        """Find the column that a variable stands for.

        :param word: the last word of the path before it.
        """
        owner, _, what = name.rpartition("_")
        words = list(reversed(_WORD.findall(endpoint)))
        for noun in (owner, word, *words):
            mapper = self._mapper_of(noun)
            if mapper is None:
                continue
            for wanted in dict.fromkeys((name, what)):
                column = mapper.columns.get(wanted)
                if column is not None:
                    return mapper, column
            if len(mapper.primary_key) == 1 and what in _NAMES_OF_KEYS:
                return mapper, mapper.primary_key[0]
        owners = [mapper for mapper in self._mappers if name in mapper.columns]
        return (owners[0], owners[0].columns[name]) if len(owners) == 1 else None

    def _mapper_of(self, noun: str) -> Mapper[Any] | None:
        """Find what a noun names: a class, its table, or a relationship to it."""
        wanted = _singular(noun)
        for mapper in self._mappers if wanted else ():
            names = {mapper.class_.__name__, getattr(mapper.local_table, "name", "")}
            if wanted in map(_singular, names):
                return mapper
        for mapper in self._mappers if wanted else ():
            for relationship in mapper.relationships:
                if wanted == _singular(relationship.key) and relationship.mapper in self._mappers:
                    return relationship.mapper
        return None

    def _rows_of(self, mapper: Mapper[Any], column: _Column) -> list[_Row]:
        """Return the row with the most behind it and the one with the least, by column name."""
        target = mapper, column
        if target not in self._rows:
            found: list[_Row] = []
            with self._app.app_context():
                for value in self._values(mapper, column):
                    row = self._row_where(column, value)
                    if row is not None and row not in found:
                        found.append(row)
            self._rows[target] = found
        return self._rows[target]

    def _values(self, mapper: Mapper[Any], column: _Column) -> list[Any]:
        """Return the value that stands most often, and the one that does least.

        They are counted where other rows refer to the column, or else in the column itself; of
        a key that nothing refers to they are the last one and the first.
        """
        for counted in (*self._references_to(mapper, column), column):
            is_key = counted is column and column.primary_key
            number = sa.func.max(column) if is_key else sa.func.count()
            groups = sa.select(counted).where(counted.is_not(None)).group_by(counted)
            values = [
                self._ask(groups.order_by(*order).limit(1)).get(str(counted.key))
                for order in (
                    (number.desc(), counted.asc()),
                    (number.asc(), counted.desc()),
                )
            ]
            if None not in values:
                return values
        return []

    def _references_to(self, mapper: Mapper[Any], column: _Column) -> Iterator[_Column]:
        """Yield the columns by which other rows refer to this one."""
        for other in self._mappers:
            for key, referred in _references(other):
                if other is not mapper and referred is column:
                    yield key

    def _value(self, target: _Target, mapper: Mapper[Any], row: _Row) -> Any:
        """Return a variable's value for a row: its own, or that of a row that it belongs to.

        Where none can be told it is that of any row, which the address may not fit.
        """
        owner, column = target
        with self._app.app_context():
            found = self._value_above(target, mapper, row, _MOST_STEPS)
        if found is None and owner is not mapper:
            found = next((each.get(str(column.key)) for each in self._rows_of(*target)), None)
        return found

    def _value_above(self, target: _Target, mapper: Mapper[Any], row: _Row, steps: int) -> Any:
        owner, column = target
        if owner is mapper:
            return row.get(str(column.key))
        references = list(_references(mapper))
        for key, referred in references:
            if referred is column:
                return row.get(str(key.key))
        for key, referred in references if steps else ():
            for above in self._mappers:
                found = row.get(str(key.key)) if above.local_table is referred.table else None
                belongs_to = self._row_where(referred, found) if found is not None else None
                if belongs_to is not None:
                    value = self._value_above(target, above, belongs_to, steps - 1)
                    if value is not None:
                        return value
        return None

    def _row_where(self, column: Any, value: Any) -> _Row | None:
        statement = sa.select(*column.table.columns).where(column == value).limit(1)
        return self._ask(statement) or None

    def _ask(self, statement: sa.Select[Any]) -> _Row:
        """Return the first row by column name; an empty one where there is none."""
        try:
            row = self._db.session.execute(statement).mappings().first()
        except (SQLAlchemyError, RuntimeError):
            log_once("looking for rows to audit with")
            self._db.session.rollback()
            return {}
        return {str(name): value for name, value in (row or {}).items()}


def _references(mapper: Mapper[Any]) -> Iterator[tuple[_Column, Any]]:
    """Yield the columns of a table that refer to others, each with the one that it refers to."""
    for key in mapper.local_table.columns:
        for reference in key.foreign_keys:
            yield key, reference.column


def _variables(rule: Rule) -> Sequence[tuple[str, str]]:
    """Return a rule's variables in their order, each with the last word of the path before it."""
    found, word = [], ""
    for is_variable, text in rule._trace:
        if is_variable:
            found.append((text, word))
        else:
            words = _WORD.findall(text)
            word = words[-1] if words else word
    return [each for each in found if each[0] not in (rule.defaults or {})]


def _singular(noun: str) -> str:
    """Return a noun as a class or a table may be named after it: without plural and underscores."""
    plain = noun.replace("_", "").replace("-", "").lower()
    for ending, instead in (("ies", "y"), ("sses", "ss"), ("xes", "x"), ("ches", "ch"), ("s", "")):
        if plain.endswith(ending) and not plain.endswith("ss"):
            return plain.removesuffix(ending) + instead
    return plain
