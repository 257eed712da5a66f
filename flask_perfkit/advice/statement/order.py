"""The order that a statement wants its rows in, as keys of an index."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import ClauseList, UnaryExpression

from flask_perfkit.advice.statement.terms import Scope, Term, columns_of, unwrapped


class OrderKey(NamedTuple):
    """One term of an order; ``nulls_first`` as said or as the direction has it by itself."""

    term: Term
    descending: bool
    nulls_first: bool

    @property
    def turned(self) -> OrderKey:
        """The same key read from its other end."""
        return OrderKey(self.term, not self.descending, not self.nulls_first)

    @property
    def is_plain(self) -> bool:
        """Whether an index has it so when nothing is said: ascending, nulls last."""
        return not self.descending and not self.nulls_first


def order_of(clauses: Sequence[Any], scope: Scope) -> tuple[Any, tuple[OrderKey, ...]] | None:
    """Return where in the statement the order's columns stand, and its keys.

    None where they stand in several tables or one cannot be told: no index has that order.
    The keys are turned where the index then is the plainer one, as it is read from either end.
    """
    keys, places = [], set()
    for clause in _single(clauses):
        key = _key(clause, scope)
        if key is None:
            return None
        places |= {column.table for column in columns_of(key.term.element)}
        keys.append(key)
    if len(places) != 1:
        return None
    turned = [key.turned for key in keys]
    plainer = max(keys, turned, key=lambda each: sum(key.is_plain for key in each))
    return places.pop(), tuple(plainer)


def _single(clauses: Iterable[Any]) -> Iterator[Any]:
    """Yield the clauses one by one: a class, a bundle or a tuple stands for its columns."""
    for clause in clauses:
        inner = unwrapped(clause)
        if isinstance(inner, ClauseList) and inner.operator is operators.comma_op:
            yield from _single(inner.clauses)
        else:
            yield clause


def _key(clause: Any, scope: Scope) -> OrderKey | None:
    descending, nulls_first = False, None
    clause = unwrapped(clause)
    while isinstance(clause, UnaryExpression) and clause.modifier is not None:
        if clause.modifier is operators.desc_op:
            descending = True
        elif clause.modifier in (operators.nulls_first_op, operators.nulls_last_op):
            nulls_first = clause.modifier is operators.nulls_first_op
        clause = unwrapped(clause.element)
    term = scope.term(clause)
    if term is None:
        return None
    return OrderKey(term, descending, descending if nulls_first is None else nulls_first)
