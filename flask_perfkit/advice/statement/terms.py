"""Terms: what an index can have as a key, and predicates with fixed values, as SQL for its DDL."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from sqlalchemy import Table, literal
from sqlalchemy.engine import Dialect
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.exc import SAWarning
from sqlalchemy.sql import visitors
from sqlalchemy.sql.elements import (
    BindParameter,
    ColumnClause,
    Grouping,
    Label,
    TypeCoerce,
)
from sqlalchemy.sql.selectable import Select, SelectBase

from flask_perfkit.advice.workload import VARIES

_LONGEST_LITERAL = 100
_COMPILER = DefaultDialect().statement_compiler(DefaultDialect(), None)
_LITERALS = (bool, int, float, str, Enum)


class Term(NamedTuple):
    """A column of a table, or an expression over columns of it alone.

    ``column`` is the column's name, None for an expression; ``element`` is the tree it came from.
    """

    sql: str
    column: str | None
    columns: frozenset[str]
    element: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Term) and self.sql == other.sql

    def __hash__(self) -> int:
        return hash(self.sql)


@dataclass(frozen=True)
class Scope:
    """What names a statement's values: its compiled form and the values that never varied."""

    compiled: Any
    constants: Mapping[str, Any]
    dialect: Dialect
    """A dialect whose parameters are named: the others write ``%%`` for a percent sign."""

    def constant(self, bind: BindParameter[Any]) -> Any:
        """Return the one value that a parameter had, or ``VARIES``."""
        names = getattr(self.compiled, "bind_names", {})
        return self.constants.get(names.get(bind, bind.key), VARIES)

    def fixed(self, element: Any) -> Any:
        """Return an expression with its parameters as literals; None where one is not fixed."""
        values = {}
        for bind in _unnested(element):
            if isinstance(bind, BindParameter):
                value = self.constant(bind)
                if not _is_literal(value):
                    return None
                values[bind] = literal(value, bind.type, literal_execute=True)
            elif isinstance(bind, SelectBase):
                return None

        return replaced(element, values.get)

    def ddl(self, element: Any) -> str | None:
        """Return an expression as DDL has it: no table's name, literals for values."""
        fixed = self.fixed(element)
        if fixed is None:
            return None
        make: Any = self.dialect.ddl_compiler
        compiler = make(self.dialect, None)
        try:
            return str(
                compiler.sql_compiler.process(fixed, include_table=False, literal_binds=True)
            )
        except Exception:
            return None  # a type that has no literals

    def term(self, element: Any) -> Term | None:
        """Return what an index can have as a key for this side of a comparison."""
        element = unwrapped(element)
        if isinstance(element, ColumnClause):
            name = column_of(element)
            if name is None:
                return None
            return Term(
                self.dialect.identifier_preparer.quote(name), name, frozenset({name}), element
            )
        names = frozenset(filter(None, map(column_of, columns_of(element))))
        sql = self.ddl(element) if names else None
        return None if sql is None else Term(sql, None, names, element)


def replaced(element: Any, instead: Callable[[Any], Any]) -> Any:
    """Return a copy of a tree, with other elements where the function gives one."""
    traverse: Any = visitors.replacement_traverse
    return traverse(element, {}, lambda each, **_: instead(each))


def unwrapped(element: Any) -> Any:
    """Take off what does not change an expression: brackets, labels, Python-side types."""
    while isinstance(element, Grouping | Label | TypeCoerce) or (
        element.__visit_name__ in ("label_reference", "_label_reference")
    ):
        element = getattr(element, "clause", None) or element.element
    return element


def _unnested(element: Any) -> Iterator[Any]:
    """Yield the parts of an expression; of a subquery in it only itself."""
    stack = [element]
    while stack:
        each = stack.pop()
        yield each
        if not isinstance(each, SelectBase):
            stack.extend(each.get_children())


def all_columns_of(element: Any) -> Iterator[Any]:
    """Yield the columns of an expression, leaving out subqueries."""
    return (each for each in _unnested(element) if isinstance(each, ColumnClause))


def columns_of(element: Any) -> Iterator[Any]:
    """Yield the columns of an expression that belong to a table, leaving out subqueries."""
    return (each for each in all_columns_of(element) if table_of(each.table) is not None)


def table_of(occurrence: Any) -> Table | None:
    """Return the table behind a FROM element: itself, or what an alias stands for.

    The ORM hands out annotated copies of a table, which are equal to it and not the same.
    """
    while occurrence is not None and not isinstance(occurrence, Table):
        occurrence = getattr(occurrence, "element", None)
        if isinstance(occurrence, SelectBase):
            return None
    table: Table | None = None if occurrence is None else occurrence._deannotate()
    return table


def froms_of(select: Select[Any]) -> Sequence[Any]:
    """Return what a SELECT reads; what SQLAlchemy warns of by the way, it has told already.

    It is ``get_final_froms``, which compiles the whole statement by the way: this does not.
    """
    state: Any = select._compile_state_factory(select, _COMPILER)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SAWarning)
        froms: Sequence[Any] = state._get_display_froms()
    return froms


def column_of(column: Any) -> str | None:
    """Return the name that a column has in its table."""
    table = table_of(column.table)
    if table is None:
        return None
    (base, *_) = column.base_columns
    return base.name if isinstance(base, ColumnClause) and base.name in table.columns else None


def _is_literal(value: Any) -> bool:
    if value is VARIES or not (value is None or isinstance(value, _LITERALS)):
        return False
    return not isinstance(value, str) or len(value) <= _LONGEST_LITERAL
