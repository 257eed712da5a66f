"""A statement ready to be cut into pages: in an order in which no two rows are equal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import CompoundSelect

from flask_perfkit.pagination.enclosed import enclose, must_be_enclosed
from flask_perfkit.pagination.identity import row_identity
from flask_perfkit.pagination.order import Term, own_terms, with_tie_break

if TYPE_CHECKING:
    from sqlalchemy import Select

    from flask_perfkit.pagination.order import Expression
    from flask_perfkit.pagination.statement import AnySelect


class Ordered(NamedTuple):
    """A select that a WHERE, ORDER BY or LIMIT may be added to.

    :param terms: the complete order, which the statement does not have yet.
    :param identity: columns that no two rows share.
    """

    statement: Select[Any]
    terms: tuple[Term, ...]
    identity: list[Expression]


def in_order(statement: AnySelect, terms: Sequence[Term]) -> Ordered:
    """Prepare a statement for the order of the terms, or for its own where there are none."""
    terms = terms or own_terms(statement)
    if isinstance(statement, CompoundSelect) or must_be_enclosed(statement):
        statement, terms, identity = enclose(statement, terms)
    else:
        identity = row_identity(statement)
    return Ordered(statement.order_by(None), with_tie_break(terms, identity), identity)
