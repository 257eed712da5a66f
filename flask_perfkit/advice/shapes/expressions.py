"""Reads the expressions of a parsed statement into those of SQLAlchemy.

Only what is named here is read: columns, comparisons, and functions that do nothing but compute.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import (
    Date,
    FromClause,
    Integer,
    Select,
    and_,
    cast,
    distinct,
    exists,
    extract,
    false,
    func,
    literal_column,
    not_,
    null,
    or_,
    true,
    tuple_,
)
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BindParameter, ColumnElement

Element = ColumnElement[Any]
Scope = Mapping[str, FromClause]
Parameter = Callable[[Element | None], BindParameter[Any]]
Subquery = Callable[[Any, Scope], Select[Any]]

_COMPARED: dict[str, Callable[[Any, Any], Any]] = {
    "eq": operators.eq,
    "neq": operators.ne,
    "lt": operators.lt,
    "lte": operators.le,
    "gt": operators.gt,
    "gte": operators.ge,
}
_COMPUTED: dict[str, Callable[[Any, Any], Any]] = {
    "add": operators.add,
    "sub": operators.sub,
    "mul": operators.mul,
    "div": operators.truediv,
    "dpipe": operators.concat_op,
}
_TYPES = {"count": Integer(), "date": Date(), "length": Integer()}
"""What functions give that do not give what they get: a parameter beside one is of that type."""
_FUNCTIONS = ("avg", "coalesce", "count", "date", "length", "lower", "max", "min", "sum", "upper")


class Unreadable(Exception):
    """A statement has something that is not read; the message says what."""


class Expressions:
    """Reads the expressions of one SELECT; ``sources`` are what its FROM names, by their names.

    :param outer: what the statements around it name.
    :param parameter: makes a parameter for what it is compared with.
    :param subquery: reads a SELECT inside of this one.
    :param nulls_are_large: how the database orders them where nothing is said.
    """

    def __init__(
        self,
        outer: Scope,
        parameter: Parameter,
        subquery: Subquery,
        *,
        nulls_are_large: bool,
    ) -> None:
        self.sources: dict[str, FromClause] = {}
        self._outer = outer
        self._nulls_are_large = nulls_are_large
        self._parameter = parameter
        self._subquery = subquery
        self._readers: dict[str, Callable[[Any, Element | None], Any]] = {
            "column": self._column,
            "placeholder": lambda _, compared: self._parameter(compared),
            "literal": lambda _, compared: self._parameter(compared),
            "null": lambda *_: null(),
            "boolean": lambda node, _: true() if node.this else false(),
            "paren": lambda node, compared: self.read(node.this, compared),
            "and": lambda node, _: and_(self.read(node.this), self.read(node.expression)),
            "or": lambda node, _: or_(self.read(node.this), self.read(node.expression)),
            "not": lambda node, _: not_(self.read(node.this)),
            "is": self._is,
            "in": self._in,
            "between": self._between,
            "like": self._pattern,
            "ilike": self._pattern,
            "exists": lambda node, _: exists(self._inside(node.this)),
            "subquery": lambda node, _: self._inside(node.this).scalar_subquery(),
            "tuple": self._tuple,
            "cast": self._cast,
            "extract": self._extract,
        }

    def selected(self, node: Any) -> Any:
        """Read what a SELECT gives back: an expression with its name, or all of a table."""
        if node.key == "alias":
            return self.read(node.this).label(node.alias)
        if node.key == "star":
            (source, *others) = self.sources.values()
            return literal_column("*") if others else source
        if node.key == "column" and node.this.key == "star":
            return self._source(node.table)
        return self.read(node)

    def ordered(self, node: Any) -> Any:
        """Read a term of ORDER BY; where NULLs come is said only if it is not their place."""
        term: Any = self.read(node.this)
        descending, first = bool(node.args.get("desc")), node.args.get("nulls_first")
        term = term.desc() if descending else term
        if first is None or bool(first) == (descending is self._nulls_are_large):
            return term
        return term.nulls_first() if first else term.nulls_last()

    def read(self, node: Any, compared: Element | None = None) -> Any:
        """Read an expression.

        :param compared: what it is compared with, which tells the type of a parameter.
        :raises Unreadable: it has what is not known here.
        """
        key = node.key
        if key in _COMPARED:
            return self._comparison(_COMPARED[key], node)
        if key in _COMPUTED:
            return _COMPUTED[key](self.read(node.this), self.read(node.expression))
        if key in _FUNCTIONS:
            return self._function(node)
        if key not in self._readers:
            raise Unreadable(f"{key.upper()} is not known")
        return self._readers[key](node, compared)

    def _column(self, node: Any, _: Element | None) -> Element:
        for scope in (self.sources, self._outer):
            named = [scope[node.table]] if node.table in scope else []
            found = [one for one in (named if node.table else scope.values()) if node.name in one.c]
            if len(found) == 1:
                column: Element = found[0].c[node.name]
                return column
        raise Unreadable(f"no model has the column {node.sql()}")

    def _source(self, name: str) -> FromClause:
        if name not in self.sources:
            raise Unreadable(f"{name} is not in FROM")
        return self.sources[name]

    def _comparison(self, operator: Callable[[Any, Any], Any], node: Any) -> Any:
        left, right = node.this, node.expression
        if left.key in ("placeholder", "literal"):
            other = self.read(right)
            return operator(self.read(left, other), other)
        known = self.read(left)
        return operator(known, self.read(right, known))

    def _function(self, node: Any) -> Any:
        arguments = [node.this, *(node.expressions if node.key == "coalesce" else ())]
        if node.key == "count" and (node.this is None or node.this.key == "star"):
            return func.count()
        is_distinct = node.this.key == "distinct"
        first = (
            distinct(self.read(node.this.expressions[0]))
            if is_distinct
            else (self.read(arguments[0]))
        )
        rest = [self.read(each, first) for each in arguments[1:]]
        return getattr(func, node.key)(first, *rest, type_=_TYPES.get(node.key, first.type))

    def _is(self, node: Any, _: Element | None) -> Any:
        left, right = self.read(node.this), self.read(node.expression)
        return left.is_not(right) if node.args.get("negate") else left.is_(right)

    def _in(self, node: Any, _: Element | None) -> Any:
        left = self.read(node.this)
        if node.this.key == "tuple":
            raise Unreadable("a list of rows is not known")
        query = node.args.get("query")
        if query is not None:
            return left.in_(self._inside(query.this))
        return left.in_([self.read(each, left) for each in node.expressions])

    def _between(self, node: Any, _: Element | None) -> Any:
        left = self.read(node.this)
        low, high = (self.read(node.args[name], left) for name in ("low", "high"))
        return left.between(low, high)

    def _pattern(self, node: Any, _: Element | None) -> Any:
        """Read a pattern as a comparison of no kind: whether it is a prefix is not known."""
        left = self.read(node.this)
        return left.op(node.key.upper(), is_comparison=True)(self._parameter(left))

    def _tuple(self, node: Any, compared: Element | None) -> Any:
        beside = list(getattr(compared, "clauses", ())) or [None] * len(node.expressions)
        pairs = zip(node.expressions, beside, strict=True)
        return tuple_(*(self.read(each, other) for each, other in pairs))

    def _cast(self, node: Any, compared: Element | None) -> Any:
        """Read a cast to a date; that of a parameter says a type which is known already."""
        if node.this.key == "placeholder":
            return self._parameter(compared)
        if node.args["to"].this.value != "DATE":
            raise Unreadable("such a CAST is not known")
        return cast(self.read(node.this), Date)

    def _extract(self, node: Any, _: Element | None) -> Any:
        field = node.this.name.lower()
        if field not in ("year", "month", "day", "hour"):
            raise Unreadable("such an EXTRACT is not known")
        return extract(field, self.read(node.expression))

    def _inside(self, node: Any) -> Select[Any]:
        """Read a subquery, which may name what is around it."""
        return self._subquery(node, {**self._outer, **self.sources})
