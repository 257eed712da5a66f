"""How a statement is put in order, worked out once for all statements of its shape."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import BindParameter, CompoundSelect, Label, Over, Select, SelectBase, Table
from sqlalchemy.sql.elements import ColumnClause
from sqlalchemy.sql.visitors import iterate
from sqlalchemy.util import LRUCache

from flask_perfkit.pagination.cursor.fingerprint import Bound, bound_values
from flask_perfkit.pagination.order.dialects import ways_of
from flask_perfkit.pagination.order.froms import read_froms, require_read
from flask_perfkit.pagination.order.identity import is_one_row, row_identity
from flask_perfkit.pagination.order.nullability import may_be_null
from flask_perfkit.pagination.order.ranges import Keyset
from flask_perfkit.pagination.order.terms import (
    of_the_statement,
    own_terms,
    require_lasting,
    with_tie_break,
)
from flask_perfkit.pagination.statement.enclosed import (
    enclose_compound,
    enclose_select,
    must_be_enclosed,
)
from flask_perfkit.pagination.statement.rows import Items, items_of
from flask_perfkit.pagination.statement.statement import require_whole_collections
from flask_perfkit.pagination.statement.visibility import names_of_selected

if TYPE_CHECKING:
    from sqlalchemy import Dialect

    from flask_perfkit.pagination.order.dialects import Ways
    from flask_perfkit.pagination.order.froms import Froms
    from flask_perfkit.pagination.order.identity import Identity
    from flask_perfkit.pagination.order.sortable import Ordered
    from flask_perfkit.pagination.order.terms import Expression, Term
    from flask_perfkit.pagination.statement.enclosed import Enclosed

_MOST_KEPT = 500


class PageStatement(NamedTuple):
    """The statement of a page, to be run with other values.

    :param names: of the values that are not those of the cursor.
    """

    statement: Select[Any]
    names: Sequence[str] = ()


@dataclass
class Layout:
    """The order of a statement's pages.

    :param terms: the complete order: no two rows are equal in it.
    :param identity: what alone tells rows apart.
    :param nullable: for each term, whether it may be NULL.
    :param names: for each term, the name under which an item shows its value, if any does.
    :param items: what an item is.
    :param finds_by_key: whether the database finds a row by its identity: it
        neither groups rows first nor takes them from a subquery nor has none.
    :param is_distinct: whether the statement is a SELECT DISTINCT.
    :param sql: the text of the statement in this order, once somebody needed it.
    :param pages: statements of pages by a cursor that were run, by what they depend on.
    """

    ways: Ways
    terms: tuple[Term, ...]
    identity: Sequence[Expression]
    nullable: tuple[bool, ...]
    names: tuple[str | None, ...]
    items: Items
    finds_by_key: bool
    is_distinct: bool = False
    sql: str | None = None
    pages: dict[Hashable, PageStatement] = field(default_factory=dict)

    @cached_property
    def order_by(self) -> list[Any]:
        """The terms as they stand in an ORDER BY."""
        return [clause for term in self.terms for clause in self.ways.order_by(term)]

    @cached_property
    def added(self) -> list[Label[Any]]:
        """What a page by its number selects beside its items.

        The identity, for :class:`Fetched`; with DISTINCT each term, because
        PostgreSQL sorts such rows by what they select only.
        """
        if self.is_distinct:
            expressions = [term.value for term in self.terms]
        else:
            expressions = list(self.identity) if self.items.has_entity else []
        return [column.label(f"perfkit_key_{number}") for number, column in enumerate(expressions)]

    @cached_property
    def identity_positions(self) -> list[int]:
        """Where among the terms the identity is, all of which they have."""
        at = {hash(term.value): number for number, term in enumerate(self.terms)}
        return [at[hash(column)] for column in self.identity]

    @cached_property
    def keyset(self) -> Keyset:
        """The terms as rows are compared by them."""
        return Keyset(self.terms, self.nullable, self.ways)


class Laid(NamedTuple):
    """A select without an order, to which an order, a WHERE and a LIMIT may be added.

    :param values: the values in the statement; None where they are still to be found.
    :param is_as_before: whether nothing but the values tells it from others of this layout.
    """

    statement: Select[Any]
    layout: Layout
    values: Sequence[Bound] | None = None
    is_as_before: bool = False


class _Shape(NamedTuple):
    """What statements have in common that differ in their values only."""

    key: tuple[Any, ...]
    values: list[Bound]


_kept: LRUCache[tuple[Any, ...], Layout] = LRUCache(_MOST_KEPT)


def lay_out(ordered: Ordered, dialect: Dialect, *, for_cursor: bool) -> Laid:
    """Put a statement in the order of the terms, or in its own where there are none."""
    statement, terms = ordered
    ways = ways_of(dialect)
    if isinstance(statement, CompoundSelect):
        enclosed = enclose_compound(statement, terms or own_terms(statement))
        return _laid_outside(enclosed, names_of_selected(enclosed.statement), ways)
    if must_be_enclosed(statement):
        return _laid_around(statement, _order(statement, terms), ways)
    shape = _shape(statement, terms)
    key = None if shape is None else (shape.key, dialect.name, dialect.driver, for_cursor)
    layout = None if key is None else _kept.get(key)
    if layout is None:
        terms = _order(statement, terms)
        froms = read_froms(statement)
        require_read((term.value for term in terms if not term.is_text), froms, "the order")
        identity = row_identity(statement, froms, [term.value for term in terms])
        if for_cursor and _needs_subquery(statement, terms, identity, ways):
            return _laid_around(statement, terms, ways)
        layout = _inside(statement, terms, froms, identity, ways)
        if key is None or not _is_static(layout):
            key = None
        else:
            _kept[key] = layout
    if statement._order_by_clauses:
        statement = statement.order_by(None)
    if shape is None:
        return Laid(statement, layout)
    # Later loads of an entity take the values in its options from the statement that ran.
    has_more = statement._execution_options or (statement._with_options and shape.values)
    return Laid(statement, layout, shape.values, key is not None and not has_more)


def _order(statement: Select[Any], terms: Sequence[Term]) -> list[Term]:
    require_whole_collections(statement)
    return of_the_statement(terms or own_terms(statement), statement)


def _shape(statement: Select[Any], terms: Sequence[Term]) -> _Shape | None:
    keys = [statement._generate_cache_key()]
    parts: list[Any] = []
    for term in terms:
        parts += (term.descending, term.nulls)
        if isinstance(term.value, ColumnClause):
            parts.append(term.value)
        else:
            keys.append(term.value._generate_cache_key())
    found = [key for key in keys if key is not None]
    if len(found) < len(keys):
        return None
    parameters = [parameter for key in found for parameter in key.bindparams]
    given: dict[str, Any] = {}
    for key in reversed(found):  # as SQLAlchemy has it, what the statement itself gives wins
        given |= getattr(key, "params", None) or {}
    if not given.keys() <= {parameter.key for parameter in parameters}:
        return None  # given by another name: only the compiled statement tells to what
    parts += (key.key for key in found)
    return _Shape(tuple(parts), bound_values(parameters, given))


def _inside(
    statement: Select[Any], terms: Sequence[Term], froms: Froms, identity: Identity, ways: Ways
) -> Layout:
    terms = with_tie_break(terms, identity.columns)
    names = names_of_selected(statement)
    if statement._distinct:
        _require_selected(terms, names)
    groups = statement._group_by_clauses or statement._distinct or is_one_row(statement)
    may_lack_key = any(may_be_null(column, statement, froms) for column in identity.columns)
    return Layout(
        ways,
        terms,
        identity.columns,
        nullable=tuple(may_be_null(term.value, statement, froms) for term in terms),
        names=tuple(names.get(hash(term.value)) for term in terms),
        items=items_of(statement),
        finds_by_key=not groups and not may_lack_key,
        is_distinct=bool(statement._distinct),
    )


def _require_selected(terms: Sequence[Term], names: Mapping[int, str]) -> None:
    """Refuse to sort DISTINCT rows by what they do not hold: the database would invent a value."""
    for term in terms:
        columns = [part for part in iterate(term.value) if isinstance(part, ColumnClause)]
        if hash(term.value) not in names and not all(hash(part) in names for part in columns):
            raise ValueError(
                f"cannot sort SELECT DISTINCT by {term.value}, which it does not select: "
                "select it too, or use an EXISTS in place of the join"
            )


def _laid_around(statement: Select[Any], terms: Sequence[Term], ways: Ways) -> Laid:
    for term in terms:
        require_lasting(term)
    identity = row_identity(statement, froms := read_froms(statement))
    require_read((term.value for term in terms), froms, "the order")
    enclosed = enclose_select(statement, terms, identity)
    inner = [*(term.value for term in terms), *identity.columns]
    outer = [*(term.value for term in enclosed.terms), *enclosed.identity]
    names = names_of_selected(statement)
    shown = {hash(new): names.get(hash(old)) for new, old in zip(outer, inner, strict=False)}
    return _laid_outside(enclosed, shown, ways)


def _laid_outside(enclosed: Enclosed, names: Mapping[int, str | None], ways: Ways) -> Laid:
    terms = with_tie_break(enclosed.terms, enclosed.identity)
    layout = Layout(
        ways,
        terms,
        enclosed.identity,
        nullable=(True,) * len(terms),
        # What only numbers equal rows tells nothing.
        names=tuple(names.get(hash(term.value), "") for term in terms),
        items=items_of(enclosed.statement),
        finds_by_key=False,
    )
    return Laid(enclosed.statement, layout)


def _needs_subquery(
    statement: Select[Any], terms: Sequence[Term], identity: Identity, ways: Ways
) -> bool:
    """Whether the statement itself can hold no condition that begins a page."""
    is_grouped = bool(statement._group_by_clauses) and not ways.has_groups
    # A text is no value among others of a DISTINCT: equal values may have several.
    is_distinct = bool(statement._distinct) and ways.reads_text_as_any_type
    return is_grouped or is_distinct or not identity.is_unique or _has_window(statement, terms)


def _has_window(statement: Select[Any], terms: Sequence[Term]) -> bool:
    """Whether a condition would change what a window function sees."""
    expressions = (*statement.selected_columns, *(term.value for term in terms))
    return any(isinstance(part, Over) for expression in expressions for part in iterate(expression))


def _is_static(layout: Layout) -> bool:
    """Whether the layout holds tables only: no value, alias or subquery of one statement."""
    expressions = (*(term.value for term in layout.terms), *layout.identity)
    return not any(
        isinstance(part, BindParameter | SelectBase)
        or (isinstance(part, ColumnClause) and not isinstance(part.table, Table | None))
        or getattr(part._annotations.get("parententity"), "is_aliased_class", False)
        for expression in expressions
        for part in iterate(expression)
    )
