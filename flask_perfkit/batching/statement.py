"""Turns the statement that loads a relationship for one object into the one for many.

Nothing is built anew: it stays the statement of SQLAlchemy's own lazy loader, with its order,
options and criteria. The comparison with one object's key becomes an ``IN``. The key is
selected too: it tells to whom a row belongs. What SQLAlchemy has no public name for is here.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Iterator
from typing import Any, NamedTuple, TypeGuard

from sqlalchemy import BindParameter, ColumnElement, Select, bindparam, tuple_
from sqlalchemy.orm import InstanceState, Mapper, RelationshipProperty
from sqlalchemy.orm.exc import UnmappedColumnError
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BinaryExpression, BooleanClauseList
from sqlalchemy.sql.visitors import iterate

Key = tuple[Any, ...]
"""The values of an object by which the rows of its relationship are found."""

_ALTERS_ROWS = (
    "_limit_clause",
    "_offset_clause",
    "_fetch_clause",
    "_for_update_arg",
    "_distinct",
    "_group_by_clauses",
    "_having_criteria",
)
"""What a lazy loader never puts into a select, and an event may: it counts rows of one object."""


class Comparison(NamedTuple):
    """A comparison with one object's value: the column, the parameter, the object's attribute."""

    column: ColumnElement[Any]
    parameter: BindParameter[Any]
    attribute: str


class Lookup(NamedTuple):
    """How a lazy load finds its rows: by comparisons with the object, and by what else it says."""

    statement: Select[Any]
    comparisons: list[Comparison]
    criteria: list[ColumnElement[bool]]

    def key_of(self, state: InstanceState[Any]) -> Key | None:
        """Return the key of an object; None where it is not known, or NULL in part."""
        values = tuple(state.dict.get(each.attribute) for each in self.comparisons)
        return None if None in values else values

    def is_by_primary_key(self, mapper: Mapper[Any]) -> bool:
        """Tell whether at most one object belongs to a key, found by its own primary key."""
        columns = [hash(each.column) for each in self.comparisons]  # equal where only annotated
        return columns == list(map(hash, mapper.primary_key))

    def parameters_for(self, key: Key) -> dict[str, Any]:
        """Return the parameters of the statement for one object."""
        return {
            each.parameter.key: value for each, value in zip(self.comparisons, key, strict=True)
        }

    def for_many(self, keys: Collection[Key], limit: int | None) -> Select[Any]:
        """Return the statement for the objects with these keys; a row is an object and its key."""
        columns = [each.column for each in self.comparisons]
        labels = (column.label(f"perfkit_key_{place}") for place, column in enumerate(columns))
        many: Select[Any] = self.statement.add_columns(*labels)
        many._where_criteria = (*self.criteria, self._in(columns, keys))
        return many if limit is None else many.limit(limit)

    def _in(self, columns: list[ColumnElement[Any]], keys: Collection[Key]) -> ColumnElement[bool]:
        types = [each.parameter.type for each in self.comparisons]
        if len(columns) > 1:
            return tuple_(*columns, types=types).in_(keys)
        values = [key[0] for key in keys]
        return columns[0].in_(bindparam(None, values, type_=types[0], expanding=True))


def lookup_of(
    relationship: RelationshipProperty[Any], state: InstanceState[Any], statement: Select[Any]
) -> Lookup | None:
    """Take a lazy load's statement apart; None where it is more than equality with a key."""
    if any(_is_set(getattr(statement, name)) for name in _ALTERS_ROWS):
        return None
    if getattr(relationship, "_target_correlates_to_parent", False):
        return None  # LATERAL, SQLAlchemy 2.1: the statement selects from the parent too
    lookup = Lookup(statement, [], [])
    for term in _terms(statement.whereclause):
        comparison = _comparison(term, relationship, state)
        if comparison is not None:
            lookup.comparisons.append(comparison)
        elif any(_is_open(element) for element in iterate(term)):
            return None
        else:
            lookup.criteria.append(term)
    return lookup if lookup.comparisons else None


def _is_set(clause: Any) -> bool:
    return clause is not None and clause is not False and clause != ()


def _terms(clause: ColumnElement[bool] | None) -> Iterator[ColumnElement[bool]]:
    if isinstance(clause, BooleanClauseList) and clause.operator is operators.and_:
        for each in clause.clauses:
            yield from _terms(each)
    elif clause is not None:
        yield clause


def _is_open(element: Any) -> TypeGuard[BindParameter[Any]]:
    """Tell whether an element is a parameter that each load fills in."""
    return isinstance(element, BindParameter) and element.effective_value is None


def _comparison(
    term: ColumnElement[bool], relationship: RelationshipProperty[Any], state: InstanceState[Any]
) -> Comparison | None:
    if not (isinstance(term, BinaryExpression) and term.operator is operators.eq):
        return None
    for parameter, column in ((term.left, term.right), (term.right, term.left)):
        if _is_open(parameter):
            local = _local_column(column, relationship)
            if local is not None:
                attribute = state.mapper.get_property_by_column(local).key
                return Comparison(column, parameter, attribute)
    return None


def _local_column(
    column: ColumnElement[Any], relationship: RelationshipProperty[Any]
) -> ColumnElement[Any] | None:
    """Return the column of the parent that the relationship joins to another column."""
    pairs = {remote: local for local, remote in relationship.local_remote_pairs or ()}
    if column in pairs:
        return pairs[column]
    attribute = relationship.mapper.get_property_by_column
    try:
        wanted = attribute(column)
        return next(local for remote, local in pairs.items() if attribute(remote) is wanted)
    except (UnmappedColumnError, StopIteration):
        return None


def shape_of(statement: Any) -> Any:
    """Return what two statements share that differ in their parameters only; None if unknown.

    Values that are part of the statement belong to it, as those in criteria do.
    """
    key = statement._generate_cache_key()
    return key and (key.key, [each.effective_value for each in key.bindparams])


def are_told_apart(keys: Iterable[Key]) -> bool:
    """Tell whether the database cannot take one of the keys for another.

    Its collation may ignore case, accents or blanks at the end; Python does not.
    """
    folded = [tuple(map(_folded, key)) for key in keys]
    return len(set(folded)) == len(folded)


def _folded(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    letters = unicodedata.normalize("NFKD", value.casefold())
    return "".join(letter for letter in letters if not unicodedata.combining(letter)).strip()
