"""Columns of other tables, each reached by the relationships that are named before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from sqlalchemy import FromClause, Select, UnaryExpression, inspect
from sqlalchemy.orm import QueryableAttribute, RelationshipProperty, aliased
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.util import LRUCache

from flask_perfkit.pagination.order.froms import columns_of, read_froms, require_read
from flask_perfkit.pagination.order.identity import row_identity

if TYPE_CHECKING:
    from sqlalchemy.orm import InstrumentedAttribute

    Expression = ColumnElement[Any]
    Column = Expression | InstrumentedAttribute[Any]

_MOST_KEPT = 500


def element_of(expression: Any) -> Expression:
    """Return the SQL expression of an ORM attribute, hybrids among them."""
    while not isinstance(expression, ColumnElement):
        expression = expression.__clause_element__()
    return expression


@dataclass(frozen=True, eq=False)
class Reached:
    """A column, and the relationships that lead to it; none where the query reads its table.

    :param where: how the declaration is called in errors: ``sortable['owner']``.
    """

    where: str
    path: tuple[QueryableAttribute[Any], ...]
    column: Any

    @cached_property
    def aliases(self) -> tuple[Any, ...]:
        """The entities along the path, under names of their own."""
        return _aliases(self.path)

    @cached_property
    def expression(self) -> Expression:
        """The column as a statement sees it that :meth:`join` was called on."""
        element = element_of(self.column)
        if not self.path:
            return element
        mapper = self.path[-1].property.mapper
        if not all(mapper.selectable.is_derived_from(table) for table in element._from_objects):
            raise ValueError(
                f"{self.where}: {self.path[-1]} leads to {mapper.class_.__name__}, "
                f"where {self.column} is not"
            )
        adapted: Expression = inspect(self.aliases[-1])._adapter.traverse(element)
        return adapted

    def join(self, statement: Select[Any], joined: set[Any]) -> Select[Any]:
        """Return the statement with the joins that lead to the column.

        :param joined: the aliases that the statement has joined already; completed.
        :raises ValueError: the query does not read where the path begins, or the path may lead to
            several rows.
        """
        if not self.path:
            return statement
        self.require_start(statement)
        before = statement
        for step, alias in zip(self._steps(), self.aliases, strict=True):
            if alias not in joined:
                joined.add(alias)
                is_outer = not step.property.innerjoin
                statement = statement.join(step.of_type(alias), isouter=is_outer)
        _require_one_row(self, before, statement)
        return statement

    def condition(
        self, statement: Select[Any], compare: Callable[[Expression], ColumnElement[bool]]
    ) -> ColumnElement[bool]:
        """Return the condition that the column compares so, in one row at least of its table.

        :raises ValueError: the query does not read the table, or where the path begins.
        """
        self.require_start(statement)
        found = compare(element_of(self.column))
        for step in reversed(self.path):
            found = step.any(found) if step.property.uselist else step.has(found)
        return found

    def require_start(self, statement: Select[Any]) -> None:
        """Refuse a query that does not read the column's table, or the first of the path.

        :raises ValueError: that is so.
        """

        def check() -> None:
            froms = read_froms(statement)
            if not self.path:
                require_read([element_of(self.column)], froms, self.where)
            elif self.path[0].parent.is_mapper:
                require_read(self.path[0].property.local_columns, froms, self.where)
            elif self.path[0].parent.selectable not in froms.sources:
                raise ValueError(
                    f"{self.where} begins at {self.path[0].parent}, which the query does not read"
                )

        _once(self, statement, check)

    def _steps(self) -> list[Any]:
        for before, step in pairwise(self.path):
            if not before.property.mapper.isa(step.parent.mapper):
                raise ValueError(f"{self.where}: {before} does not lead to where {step} begins")
        later = zip(self.path[1:], self.aliases, strict=False)
        return [self.path[0], *(getattr(start, step.key) for step, start in later)]


def read_reached(declared: Any, where: str) -> Reached:
    """Check the declaration of a column: alone, or behind relationships in a tuple.

    :raises TypeError: it is something else.
    """
    parts = declared if isinstance(declared, tuple) else (declared,)
    if not parts:
        raise TypeError(f"{where} is an empty tuple: must be a column such as Document.title")
    *path, column = parts
    for step in path:
        if not _is_relationship(step):
            raise TypeError(
                f"{where} has {step!s:.80} before its column, which is no relationship: "
                "write (Document.user, User.name)"
            )
    if _is_relationship(column):
        raise TypeError(
            f"{where} ends with the relationship {column}: name a column behind it, "
            "as in (Document.user, User.name)"
        )
    if not _is_column(column):
        raise TypeError(
            f"{where} is {column!r:.80}: must be a column or an expression, such as "
            "Document.title, or a relationship and a column, such as (Document.user, User.name)"
        )
    return Reached(where, tuple(path), column)


def _is_relationship(part: Any) -> bool:
    return isinstance(part, QueryableAttribute) and isinstance(
        getattr(part, "prop", None), RelationshipProperty
    )


def _is_column(part: Any) -> bool:
    if isinstance(part, ColumnElement | UnaryExpression):
        return True
    return not isinstance(part, type | FromClause) and hasattr(part, "__clause_element__")


_kept_aliases: LRUCache[tuple[Any, ...], tuple[Any, ...]] = LRUCache(_MOST_KEPT)


def _aliases(path: Sequence[QueryableAttribute[Any]]) -> tuple[Any, ...]:
    """Return the same aliases for the same path: so statements of a kind stay of a kind."""
    key = _steps_key(path)
    found = _kept_aliases.get(key)
    if found is None:
        before = _aliases(path[:-1]) if len(path) > 1 else ()
        found = _kept_aliases[key] = (*before, aliased(path[-1].property.mapper.class_))
    return found


_allowed: LRUCache[tuple[Any, ...], bool] = LRUCache(_MOST_KEPT)


def _require_one_row(reached: Reached, before: Select[Any], joined: Select[Any]) -> None:
    """Refuse a path that may lead to several rows with a ValueError: it would repeat items."""

    def check() -> None:
        selectables = [inspect(alias).selectable for alias in reached.aliases]
        for column in row_identity(joined, read_froms(joined)).columns:
            if getattr(column, "table", None) in selectables:
                raise ValueError(
                    f"{reached.where}: {' and '.join(map(str, reached.path))} may lead to several "
                    "rows, and each would repeat the item: sort by an aggregate in a "
                    "scalar_subquery() instead"
                )

    if not (before._group_by_clauses or before._distinct):
        _once(reached, joined, check)


def _once(reached: Reached, statement: Select[Any], check: Callable[[], None]) -> None:
    """Check a kind of statement once: reading its FROM costs more than a page."""
    cached = statement._generate_cache_key()
    if cached is None:
        check()
        return
    tables = frozenset(column.table for column in columns_of(element_of(reached.column)))
    key = (cached.key, _steps_key(reached.path), tables)
    if key not in _allowed:
        check()
        _allowed[key] = True


def _steps_key(path: Sequence[QueryableAttribute[Any]]) -> tuple[Any, ...]:
    return tuple((step.property, step.parent) for step in path)
