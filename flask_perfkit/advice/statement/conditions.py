"""Conditions: the comparisons of a WHERE or ON clause that say something of one table alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum, auto
from itertools import islice, product
from typing import Any, NamedTuple

from sqlalchemy import types as sqltypes
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import (
    BinaryExpression,
    BooleanClauseList,
    CollectionAggregate,
    ColumnClause,
    ExpressionClauseList,
    Null,
    UnaryExpression,
)

from flask_perfkit.advice.statement.terms import (
    Scope,
    Term,
    all_columns_of,
    columns_of,
    unwrapped,
)

_MOST_ALTERNATIVES = 8


class Kind(Enum):
    """How an index can serve a condition."""

    EQUAL = auto()
    LISTED = auto()
    JOINED = auto()
    RANGE = auto()
    PREFIX = auto()
    INFIX = auto()
    CONTAINS = auto()
    OTHER = auto()


class Condition(NamedTuple):
    """A term and how it is compared.

    ``fixed`` is the condition as SQL where its values never vary; ``clause`` is its tree.
    """

    kind: Kind
    term: Term
    fixed: str | None
    clause: Any

    @property
    def is_null(self) -> bool:
        """Whether it asks for NULL: which planners find, and yet do not know to be one value."""
        return self.clause.__visit_name__ == "binary" and isinstance(self.clause.right, Null)


_COMPARED = {
    operators.eq: Kind.EQUAL,
    operators.is_: Kind.EQUAL,
    operators.is_not_distinct_from: Kind.OTHER,
    operators.in_op: Kind.LISTED,
    operators.any_op: Kind.LISTED,
    operators.lt: Kind.RANGE,
    operators.le: Kind.RANGE,
    operators.gt: Kind.RANGE,
    operators.ge: Kind.RANGE,
    operators.between_op: Kind.RANGE,
    operators.startswith_op: Kind.PREFIX,
    operators.istartswith_op: Kind.INFIX,
    operators.ilike_op: Kind.INFIX,
    operators.contains_op: Kind.INFIX,
    operators.icontains_op: Kind.INFIX,
    operators.endswith_op: Kind.INFIX,
    operators.iendswith_op: Kind.INFIX,
    operators.regexp_match_op: Kind.INFIX,
}
_CONTAINMENT = {"@>", "<@", "?", "?|", "?&", "&&", "@@", "@?"}
_TURNED = {
    operators.lt: operators.gt,
    operators.gt: operators.lt,
    operators.le: operators.ge,
    operators.ge: operators.le,
    operators.eq: operators.eq,
}


def alternatives(clauses: Sequence[Any]) -> list[list[Any]]:
    """Return the clauses as conditions that hold together, once for each arm of their ORs."""
    plain, ors = [], []
    for clause in clauses:
        for each in _flat(clause, operators.and_):
            arms = list(_flat(each, operators.or_))
            if len(arms) > 1:
                ors.append([list(_flat(arm, operators.and_)) for arm in arms])
            else:
                plain.append(each)
    arms_together = [
        [*plain, *(each for arm in arms for each in arm)]
        for arms in islice(product(*ors), _MOST_ALTERNATIVES)
    ]
    return [plain, *arms_together] if ors else [plain]


def _flat(clause: Any, operator: Any) -> Iterator[Any]:
    clause = unwrapped(clause)
    if isinstance(clause, BooleanClauseList | ExpressionClauseList) and clause.operator is operator:
        for each in clause.clauses:
            yield from _flat(each, operator)
    else:
        yield clause


def conditions_of(occurrence: Any, clauses: Sequence[Any], scope: Scope) -> Iterator[Condition]:
    """Yield what clauses that hold together say of one place of a table."""
    for clause in clauses:
        for kind, element in _read(occurrence, clause, scope):
            term = scope.term(element)
            if term is not None:
                own = all(column.table == occurrence for column in all_columns_of(clause))
                yield Condition(kind, term, scope.ddl(clause) if own else None, clause)


def _read(occurrence: Any, clause: Any, scope: Scope) -> Iterator[tuple[Kind, Any]]:
    if isinstance(clause, ColumnClause):  # a boolean alone
        if clause.table == occurrence:
            yield Kind.EQUAL, clause
    elif isinstance(clause, UnaryExpression):
        element = unwrapped(clause.element)
        if clause.operator in (operators.is_true, operators.is_false, operators.inv):
            yield from (
                _read(occurrence, element, scope) if isinstance(element, ColumnClause) else ()
            )
    elif isinstance(clause, BinaryExpression):
        yield from _read_binary(occurrence, clause, scope)


def _read_binary(
    occurrence: Any, clause: BinaryExpression[Any], scope: Scope
) -> Iterator[tuple[Kind, Any]]:
    left, right = unwrapped(clause.left), unwrapped(clause.right)
    if clause.operator in (operators.lt, operators.le, operators.gt, operators.ge, operators.in_op):
        row = list(getattr(left, "clauses", ())) if left.__visit_name__ == "tuple" else []
        if row:
            yield from (
                (_COMPARED[clause.operator], each) for each in row if _places(each) == {occurrence}
            )
            return
    operator = clause.operator
    if _places(left) != {occurrence}:
        if operator not in _TURNED or _places(right) != {occurrence}:
            return
        left, right, operator = right, left, _TURNED[operator]
    others = _places(right)
    if occurrence in others or isinstance(left, CollectionAggregate):
        return  # ANY of a column is no key
    kind = _kind(operator, left, right, scope)
    yield (Kind.JOINED if others and kind is Kind.EQUAL else kind), left


def _kind(operator: Any, left: Any, right: Any, scope: Scope) -> Kind:
    name = getattr(operator, "opstring", "")
    if name in _CONTAINMENT or operator is operators.match_op:
        return Kind.CONTAINS
    if operator is operators.like_op:
        return _kind_of_pattern(right, scope)
    if operator is operators.eq and isinstance(right, CollectionAggregate):
        return Kind.LISTED
    if operator is operators.contains_op and not isinstance(left.type, sqltypes.String):
        return Kind.CONTAINS
    return _COMPARED.get(operator, Kind.OTHER)


def _kind_of_pattern(pattern: Any, scope: Scope) -> Kind:
    """Tell a prefix by its value, where it never varied."""
    value = scope.constant(pattern) if hasattr(pattern, "callable") else None
    if isinstance(value, str) and value[:1] in ("%", "_"):
        return Kind.INFIX
    return Kind.PREFIX


def _places(element: Any) -> set[Any]:
    return {column.table for column in columns_of(element)}
