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
from sqlalchemy.orm import Mapper, Session
from werkzeug.routing import Rule

from flask_perfkit.faults import log_once

if TYPE_CHECKING:
    from flask import Flask

_Column = sa.ColumnElement[Any]
_Target = tuple[Mapper[Any], _Column]

_WORD = re.compile(r"[^\W_]+")


class Examples:
    """Finds values in the database of an application, and remembers the rows that it found."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._db: Any = app.extensions.get("sqlalchemy")
        self._mappers = list(self._all_mappers())
        self._rows: dict[Any, list[dict[str, Any]]] = {}

    def of(self, rule: Rule) -> list[dict[str, Any]]:
        """Return the values of a rule's variables, for up to two rows; none where unknown."""
        wanted = [
            (name, self._column_of(name, word, rule.endpoint)) for name, word in _variables(rule)
        ]
        if not wanted or any(column is None for _, column in wanted):
            return []
        mapper, column = cast(_Target, wanted[-1][1])
        examples = []
        for row in self._rows_of(mapper, column):
            values = {name: self._value(target, mapper, row) for name, target in wanted}
            if None not in values.values() and values not in examples:
                examples.append(values)
        return examples

    def _all_mappers(self) -> Iterator[Mapper[Any]]:
        if self._db is not None and hasattr(self._db, "Model"):
            yield from self._db.Model.registry.mappers

    def _column_of(self, name: str, word: str, endpoint: str) -> _Target | None:
        """Find the column that a variable stands for.

        :param word: the last word of the path before it.
        """
        owner, _, what = name.rpartition("_")
        nearest = [owner, word, *reversed(_WORD.findall(endpoint))] if owner else [word]
        for noun in [*nearest, *reversed(_WORD.findall(endpoint))]:
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
        wanted = _singular(noun)
        for mapper in self._mappers:
            names = {mapper.class_.__name__, getattr(mapper.local_table, "name", "")}
            if wanted and wanted in {_singular(name) for name in names}:
                return mapper
        return None

    def _rows_of(self, mapper: Mapper[Any], column: _Column) -> list[dict[str, Any]]:
        key = mapper, column
        if key not in self._rows:
            try:
                with self._app.app_context():
                    self._rows[key] = self._look(mapper, column)
            except (SQLAlchemyError, RuntimeError):
                log_once("looking for rows to audit with")
                self._rows[key] = []
        return self._rows[key]

    def _look(self, mapper: Mapper[Any], column: _Column) -> list[dict[str, Any]]:
        """Return the row with the most behind it and the one with the least, by column name."""
        counted: Any = self._reference_to(mapper, column)
        number: Any = sa.func.count()
        if counted is None and column.primary_key:
            counted, number = column, sa.func.max(column)
        elif counted is None:
            counted = column
        rows: list[dict[str, Any]] = []
        session: Session = self._db.session
        groups = sa.select(counted).where(counted.is_not(None)).group_by(counted)
        most, least = (number.desc(), counted.asc()), (number.asc(), counted.desc())
        for order in (most, least):
            value = session.execute(groups.order_by(*order).limit(1)).scalar()
            row_of_it = sa.select(mapper.local_table).where(column == value).limit(1)
            row = session.execute(row_of_it).mappings().first()
            if row is not None and dict(row) not in rows:
                rows.append(dict(row))
        session.rollback()
        return rows

    def _reference_to(self, mapper: Mapper[Any], column: _Column) -> _Column | None:
        """Find a column by which other rows refer to this one."""
        for other in self._mappers:
            for key in other.local_table.columns:
                if other is not mapper and any(each.column is column for each in key.foreign_keys):
                    return key
        return None

    @staticmethod
    def _value(target: _Target | None, mapper: Mapper[Any], row: dict[str, Any]) -> Any:
        """Return a variable's value for a row: its own, or that of the row it belongs to."""
        if target is None:
            return None
        owner, column = target
        if owner is mapper:
            return row.get(str(column.key))
        for key in mapper.local_table.columns:
            if any(each.column is column for each in key.foreign_keys):
                return row.get(key.name)
        return None


_NAMES_OF_KEYS = frozenset({"id", "pk", "key", "uid", "uuid", "number", "no", "ident"})


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
