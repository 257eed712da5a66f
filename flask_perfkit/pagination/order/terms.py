"""The order of a page: what the client or the statement asks for, made total by a tie-break."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, cast

from sqlalchemy import BindParameter, SelectBase, UnaryExpression, inspect, nulls_first, nulls_last
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import (
    ColumnClause,
    ColumnElement,
    Label,
    TextClause,
    _label_reference,
    _textual_label_reference,
)
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.selectable import Select
from sqlalchemy.sql.visitors import iterate, replacement_traverse

from flask_perfkit.pagination.order.froms import final_froms

if TYPE_CHECKING:
    from sqlalchemy.sql.selectable import GenerativeSelect

    Expression = ColumnElement[Any]
    Nulls = Literal["first", "last"]

_DIRECTIONS = {operators.asc_op: False, operators.desc_op: True}
_OPPOSITE: dict[Nulls, Nulls] = {"first": "last", "last": "first"}
_NULLS: dict[Any, Nulls] = {operators.nulls_first_op: "first", operators.nulls_last_op: "last"}
_MOVING = frozenset(
    {"random", "rand", "randomblob", "random_normal", "newid", "uuid", "uuid_short", "sys_guid"}
    | {"gen_random_uuid", "uuidv4", "uuidv7", "uuid_generate_v1", "uuid_generate_v4"}
    | {"clock_timestamp", "timeofday", "sysdate", "nextval"}
)


@dataclass(frozen=True)
class Term:
    """One term of an ORDER BY.

    :param expression: what is sorted by; a label stays one, so that the database sees its name.
    :param nulls: where NULLs stand, if the term says so; else the database decides.
    """

    expression: Expression
    descending: bool = False
    nulls: Nulls | None = None

    @property
    def value(self) -> Expression:
        """What is sorted by, without its label."""
        return self.expression.element if isinstance(self.expression, Label) else self.expression

    @property
    def is_text(self) -> bool:
        """Whether the term is text(), of which nothing is known."""
        return isinstance(cast(Any, self.expression), TextClause)

    def clause(self) -> Any:
        """Return the term as it stands in an ORDER BY of standard SQL."""
        if self.is_text:
            return self.expression
        clause = self.expression.desc() if self.descending else self.expression.asc()
        if self.nulls is None:
            return clause
        return nulls_first(clause) if self.nulls == "first" else nulls_last(clause)

    def reversed(self) -> Term:
        """Return the term that puts rows the other way round, NULLs included."""
        nulls = None if self.nulls is None else _OPPOSITE[self.nulls]
        return Term(self.expression, not self.descending, nulls)


def require_lasting(term: Term) -> None:
    """Refuse an order that a cursor cannot follow with a ValueError."""
    if term.is_text:
        raise ValueError("a cursor cannot follow text() in an ORDER BY: name a column instead")
    for part in iterate(term.value):
        if isinstance(part, ColumnClause) and part.is_literal and part.name != "*":
            raise ValueError(
                f"a cursor cannot follow literal_column({part.name!r}) in an ORDER BY, which may "
                "mean something else in a WHERE: name a column instead"
            )
        if isinstance(part, FunctionElement) and part.name.lower() in _MOVING:
            raise ValueError(
                f"a cursor cannot follow {part.name}() in an ORDER BY, which is another value each "
                "time: sort by a column that keeps it"
            )


def own_terms(statement: GenerativeSelect) -> list[Term]:
    """Return the terms of the statement's own ORDER BY, with names resolved."""
    return [term_of(clause, statement) for clause in statement._order_by_clauses]


def with_tie_break(terms: Sequence[Term], identity: Sequence[Expression]) -> tuple[Term, ...]:
    """Append what tells rows apart, in the direction of the last term; drop repeated terms."""
    kept = _without_repeats(terms)
    descending = kept[-1].descending if kept else False
    return _without_repeats((*kept, *(Term(column, descending) for column in identity)))


def _without_repeats(terms: Sequence[Term]) -> tuple[Term, ...]:
    # SQLAlchemy overloads == of columns; a column and its ORM attribute share one hash.
    first = {hash(term.value): term for term in reversed(terms)}
    return tuple(term for term in terms if first[hash(term.value)] is term)


def resolved(clause: Any, statement: GenerativeSelect) -> Expression:
    """Return the expression that an ORDER BY or GROUP BY clause means."""
    return term_of(clause, statement).value


def of_the_statement(terms: Sequence[Term], statement: Select[Any]) -> list[Term]:
    """Take from the columns the mapped class that they are named by, if the statement selects none.

    Selected beside an entity, a subclass's column would bring its table once
    more into the FROM, or leave the rows of the other classes out.
    """
    found = (column.get("entity") for column in statement.column_descriptions)
    entities = {inspect(entity) for entity in found if entity is not None}
    return [_without_entities_but(entities, term) for term in terms]


def _without_entities_but(kept: Collection[Any], term: Term) -> Term:
    foreign = []

    def replaced(part: Any, **_: Any) -> Any:
        entity = part._annotations.get("parententity")
        if isinstance(part, ColumnClause) and entity is not None and entity not in kept:
            foreign.append(part)
            return part._deannotate()
        return part if isinstance(part, SelectBase | BindParameter) else None

    found = cast(Any, replacement_traverse)(term.expression, {}, replaced)
    return replace(term, expression=found) if foreign else term


def term_of(clause: Any, statement: GenerativeSelect | None = None) -> Term:
    """Return the term that a clause means: a column, its direction, the place of its NULLs."""
    descending, nulls = False, None
    while isinstance(clause, UnaryExpression | _label_reference):
        if isinstance(clause, UnaryExpression):
            if clause.modifier in _DIRECTIONS:
                descending = _DIRECTIONS[clause.modifier]
            elif clause.modifier in _NULLS:
                nulls = _NULLS[clause.modifier]
            else:
                break
        clause = clause.element
    if isinstance(clause, _textual_label_reference) and statement is not None:
        clause = _named(clause.element, statement)
    return Term(clause, descending, nulls)


def _named(name: str, statement: GenerativeSelect) -> Expression:
    selected = statement.selected_columns
    if name in selected:
        return selected[name]
    if isinstance(statement, Select):
        for source in final_froms(statement):
            if name in source.c:
                return source.c[name]
    raise ValueError(f"ORDER BY {name!r} names no column of the statement")
