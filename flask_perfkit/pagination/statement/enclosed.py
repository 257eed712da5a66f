"""Statements in which another order or limit would pick other rows: paged as a subquery."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import CompoundSelect, Select, and_, func, inspect, select

from flask_perfkit.pagination.order.identity import Identity, groups_of, is_repeating
from flask_perfkit.pagination.order.keys import comparable
from flask_perfkit.pagination.order.terms import Term, own_terms
from flask_perfkit.pagination.statement.statement import entity_of

if TYPE_CHECKING:
    from sqlalchemy import Subquery

    from flask_perfkit.pagination.order.terms import Expression
    from flask_perfkit.pagination.statement.statement import AnySelect


class Enclosed(NamedTuple):
    """A select over the subquery, with the order and what tells rows apart in its columns."""

    statement: Select[Any]
    terms: list[Term]
    identity: Sequence[Expression]


def is_limited(statement: AnySelect) -> bool:
    """Whether the statement's own LIMIT, OFFSET or FETCH decides which rows there are."""
    return (
        statement._limit_clause is not None
        or statement._offset_clause is not None
        or statement._fetch_clause is not None
    )


def must_be_enclosed(statement: Select[Any]) -> bool:
    """Whether another ORDER BY or LIMIT would pick other rows."""
    # SQLAlchemy 2.1 writes DISTINCT ON as an extension of the syntax.
    extensions: object = getattr(statement, "_get_syntax_extensions_as_dict", dict)()
    return is_limited(statement) or bool(statement._distinct_on or extensions)


def enclose_compound(statement: CompoundSelect[Any], terms: Sequence[Term]) -> Enclosed:
    """Select the rows of a UNION or its like from a subquery; equal rows are numbered."""
    inner = statement if is_limited(statement) else statement.order_by(None)
    subquery = inner.subquery()
    if is_repeating(statement):
        number = _number_within([comparable(column) for column in subquery.c])
        subquery = select(*subquery.c, number).subquery()
    identity = [comparable(column) for column in subquery.c]
    columns = list(subquery.c)[: len(statement.selected_columns)]
    outer = select(*columns).options(*statement._with_options)
    outer = outer.execution_options(**statement._execution_options)
    return Enclosed(outer, [_in_union(term, subquery) for term in terms], identity)


def _in_union(term: Term, subquery: Subquery) -> Term:
    if term.is_text:  # names columns of the union, and so of the subquery
        return term
    column = subquery.corresponding_column(term.value)  # type: ignore[arg-type]
    if column is None:
        raise ValueError(f"cannot sort by {term.value}: it is no column of the UNION")
    return Term(column, term.descending, term.nulls)


class _Columns:
    """The columns of the subquery, each with a name of its own."""

    def __init__(self) -> None:
        self.inner: list[Expression] = []

    def add(self, expression: Expression) -> int:
        self.inner.append(expression.label(f"perfkit_{len(self.inner)}"))
        return len(self.inner) - 1


def _number_within(columns: Sequence[Expression]) -> Expression:
    """Return a column that numbers the rows which are the same in all of these."""
    return func.row_number().over(partition_by=list(columns)).label("perfkit_number")


def enclose_select(statement: Select[Any], terms: Sequence[Term], identity: Identity) -> Enclosed:
    """Select the statement's rows from a subquery; rows that the identity mixes up are numbered."""
    if any(term.is_text for term in terms):
        raise ValueError("cannot follow the text() in an ORDER BY here: name a column instead")
    columns = _Columns()
    selected = list(_selected(statement, columns))
    ordered = [columns.add(term.value) for term in terms]
    told_apart = [columns.add(expression) for expression in identity.columns]
    if not identity.is_unique:
        told_apart.append(columns.add(_number_within(identity.columns)))
    # Its own order decides which rows a LIMIT takes; by name it would find no column here.
    own_order = [term.clause() for term in own_terms(statement)]
    groups = list(groups_of(statement))
    inner = statement.with_only_columns(*columns.inner, maintain_column_froms=True)
    inner = inner.order_by(None).order_by(*own_order).group_by(None).group_by(*groups)
    subquery = inner.subquery()
    outer = _selected_again(selected, subquery).options(*statement._with_options)
    exported = list(subquery.c)
    return Enclosed(
        outer.execution_options(**statement._execution_options),
        [
            Term(exported[position], term.descending, term.nulls)
            for position, term in zip(ordered, terms, strict=True)
        ],
        [exported[position] for position in told_apart],
    )


class _Selected(NamedTuple):
    name: str
    entity: Any
    positions: list[int]


def _selected(statement: Select[Any], columns: _Columns) -> Iterator[_Selected]:
    for description in statement.column_descriptions:
        entity = entity_of(description)
        expressions = [description["expr"]] if entity is None else _primary_key(entity)
        positions = [columns.add(expression) for expression in expressions]
        yield _Selected(description["name"], entity, positions)


def _selected_again(selected: Sequence[_Selected], subquery: Subquery) -> Select[Any]:
    """Select what the statement selected: columns from the subquery, entities by their key in it.

    Entities stay what they were, so loader options go on to fit.
    """
    exported = list(subquery.c)
    outer: Select[Any] = select(
        *(
            exported[item.positions[0]].label(item.name) if item.entity is None else item.entity
            for item in selected
        )
    ).select_from(subquery)
    for item in selected:
        if item.entity is not None:
            keys = zip(_primary_key(item.entity), item.positions, strict=True)
            same = and_(*(key == exported[position] for key, position in keys))
            outer = outer.outerjoin(item.entity, same)
    return outer


def _primary_key(entity: Any) -> list[Expression]:
    mapper = inspect(entity).mapper
    return [
        getattr(entity, mapper.get_property_by_column(column).key) for column in mapper.primary_key
    ]
