"""What a statement reads and writes, told from its clauses and, for plain text, its words.

A compiled statement is looked at once: SQLAlchemy keeps it for all executions of the same
shape. Values are never taken from it, because it carries those of its first execution;
they are looked up in the execution's own parameters by the names kept here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm.context import FromStatement
from sqlalchemy.schema import ExecutableDDLElement
from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.dml import Delete, Insert, Update, UpdateBase
from sqlalchemy.sql.elements import (
    BinaryExpression,
    BindParameter,
    BooleanClauseList,
    ColumnClause,
    Grouping,
    TextClause,
)
from sqlalchemy.sql.expression import Join, Select, TableClause
from sqlalchemy.sql.functions import Function, FunctionElement
from sqlalchemy.sql.selectable import SelectBase, TextualSelect

from flask_perfkit.cache.entries.dependencies import (
    ANYTHING,
    column_name,
    table_token,
    value_text,
)
from flask_perfkit.cache.reads.sessions import metadatas
from flask_perfkit.cache.writes.functions import is_known_function
from flask_perfkit.cache.writes.texts import fragment_writes, text_facts

_TEXT_READS = re.compile(r"\b(?:from|join|table|call|execute)\b", re.IGNORECASE)
_TEXT_CALLS = re.compile(r"\s*(?:select|with|values)\b.*\w\s*\(", re.IGNORECASE | re.DOTALL)
_OPAQUE_TEXT = "it runs SQL text, whose tables are not known; name them with depends_on=[...]"
_OPAQUE_CALL = (
    "it calls the function {}(), which may read any table; name the tables with depends_on=[...]"
)
_LONGEST_KEPT_TEXT = 2000
_GENERIC = Function.__module__
_FACTS = "_flask_perfkit_facts"
_CASCADES = frozenset({"CASCADE", "SET NULL", "SET DEFAULT"})


@dataclass(frozen=True)
class Write:
    """One table that a statement writes, with the names under which its parameters stand.

    ``where`` maps a column to the parameter that every touched row has as its value;
    ``sets`` maps a column to the parameters it gets, None where it gets an expression.
    Columns outside ``sets`` keep their value, or in an INSERT have one that is not known.
    """

    table: str
    insert: bool = False
    known: bool = False
    where: Mapping[str, str] | None = None
    sets: Mapping[str, tuple[str, ...] | None] | None = None
    keys: tuple[str, ...] = ()
    types: Mapping[str, Any] | None = None

    def row_keys(self, parameters: list[dict[str, Any]]) -> list[tuple[str, ...]] | None:
        """Write the primary keys of the touched rows as text; None where they are not named."""
        if not self.keys or self.where is None or any(key not in self.where for key in self.keys):
            return None
        return [tuple(str(row.get(self.where[key])) for key in self.keys) for row in parameters]

    def texts(
        self, column: str, names: tuple[str, ...], parameters: list[dict[str, Any]]
    ) -> set[str] | None:
        """Write the values that the column has in these parameters; None if one has no text."""
        assert self.types is not None
        kind = self.types[column]
        texts = {value_text(row.get(name), kind) for row in parameters for name in names}
        return None if None in texts else {text for text in texts if text is not None}


@dataclass(frozen=True)
class Facts:
    """What a statement does: tables read, tables written, whether some stayed unseen.

    ``opaque``: why it reads tables which cannot be told; empty where it does not.
    ``commits``: a database may commit the transaction because of it.
    ``switches``: the connection sees other data from here on; ``sets_level``: perhaps at another
    level of isolation. ``only_reads``: nothing has to be noted unless a creator runs.
    """

    reads: frozenset[str]
    writes: tuple[Write, ...] = ()
    opaque: str = ""
    commits: bool = False
    switches: bool = False
    sets_level: bool = False

    only_reads: bool = field(init=False)

    def __post_init__(self) -> None:
        notable = self.writes or self.commits or self.switches or self.sets_level
        object.__setattr__(self, "only_reads", not notable)


def facts(context: Any) -> Facts:
    """Tell what the statement of this execution context does."""
    compiled = context.compiled
    if compiled is None:
        return _text_facts(context.statement)
    known: Facts | None = compiled.__dict__.get(_FACTS)
    if known is None:
        known = compiled.__dict__[_FACTS] = _compiled_facts(compiled)
    return known


def _text_facts(text: str) -> Facts:
    read = _short_text_facts if len(text) <= _LONGEST_KEPT_TEXT else _read_text
    return read(text, sum(len(metadata.tables) for metadata in metadatas()))


def _read_text(text: str, _known_tables: int) -> Facts:
    """Tell what a text does; with more tables known, its cascades may reach further."""
    told = text_facts(text)
    written = set(told.writes)
    if written and told.cascades and ANYTHING not in written:
        written |= _cascade(written, metadatas(), () if told.empties else ("ondelete", "onupdate"))
    opaque = _TEXT_READS.search(text) is not None or _TEXT_CALLS.match(text) is not None
    return Facts(
        reads=frozenset(),
        writes=tuple(Write(table) for table in sorted(written)),
        opaque=_OPAQUE_TEXT if opaque else "",
        commits=told.commits,
        switches=told.switches,
        sets_level="isolation" in text.lower() or "snapshot" in text.lower(),
    )


_short_text_facts = lru_cache(maxsize=512)(_read_text)


def _compiled_facts(compiled: Any) -> Facts:
    statement = compiled.statement
    if isinstance(statement, TextClause):
        return _text_facts(statement.text)
    if isinstance(statement, ExecutableDDLElement):
        return _ddl_facts(statement)
    final = getattr(compiled.compile_state, "statement", None)
    roots = (final,) if isinstance(final, UpdateBase) else (statement, final)
    if not isinstance(statement, _UNDERSTOOD):
        return _text_facts(str(compiled))
    reads: set[str] = set()
    writes: list[Write] = []
    opaque = ""
    unknown = ""
    for element in _elements(*roots):
        if isinstance(element, TableClause):
            reads.add(table_token(element.name))
        elif isinstance(element, UpdateBase):
            writes += _dml_writes(element, compiled if element is roots[0] else None)
        elif isinstance(element, FunctionElement):
            unknown = unknown or _unknown_function(element)
        elif isinstance(element, TextClause | ColumnClause):
            text = _text_of(element)
            if text:
                writes += map(Write, sorted(fragment_writes(text)))
                opaque = opaque or (_OPAQUE_TEXT if _TEXT_READS.search(text) else "")
        elif isinstance(element, TextualSelect):
            writes += _text_facts(getattr(element.element, "text", "")).writes
        elif isinstance(element, Select | Join) and _is_from_text(element):
            opaque = opaque or _OPAQUE_TEXT
    if unknown:
        opaque = opaque or _OPAQUE_CALL.format(unknown)
        if not reads:  # a procedure, called as such
            writes.append(Write(ANYTHING))
    return Facts(frozenset(reads), tuple(writes), opaque)


_UNDERSTOOD = (
    SelectBase,
    UpdateBase,
    FromStatement,
    FunctionElement,
    sa.sql.elements.ColumnElement,
    sa.Sequence,
    sa.sql.expression.FromClause,
)


def _text_of(element: TextClause | ColumnClause[Any]) -> str:
    if isinstance(element, TextClause):
        return element.text
    return element.name if element.is_literal else ""


def _unknown_function(element: FunctionElement[Any]) -> str:
    """Return the name of a function that may read or write anything, empty for another."""
    if type(element).__module__ == _GENERIC and type(element) is not Function:
        return ""
    name = str(getattr(element, "name", type(element).__name__))
    packages = tuple(getattr(element, "packagenames", ()))
    return "" if is_known_function(name) and packages in ((), ("pg_catalog",)) else name


def _is_from_text(element: Select[Any] | Join) -> bool:
    """Say whether a table is given as mere text, as in ``select_from(text("documents"))``."""
    tables = (element.left, element.right) if isinstance(element, Join) else element._from_obj
    return any(isinstance(table, TextClause) for table in tables)


def _elements(*statements: Any) -> Iterator[Any]:
    """Walk all clauses once, the tables behind columns included."""
    seen: set[int] = set()
    waiting = [statement for statement in statements if statement is not None]
    while waiting:
        for element in visitors.iterate(waiting.pop()):
            if id(element) in seen:
                continue
            seen.add(id(element))
            yield element
            table = element.table if isinstance(element, ColumnClause) else None
            if table is not None and id(table) not in seen:
                waiting.append(table)


def _ddl_facts(statement: Any) -> Facts:
    if isinstance(statement, sa.DDL):
        return replace(_text_facts(statement.statement), commits=True)
    target = getattr(statement, "element", None)
    writes = (Write(table_token(target.name)),) if isinstance(target, TableClause) else ()
    return Facts(frozenset(), writes, commits=True)


def _dml_writes(statement: UpdateBase, compiled: Any) -> Iterator[Write]:
    """Tell the tables that an INSERT, UPDATE or DELETE writes, by cascade as well.

    :param compiled: what was compiled from this very statement; None for one inside another,
        whose parameters are not looked at.
    """
    table: Any = statement.table
    if not isinstance(table, TableClause):
        return
    name = table_token(table.name)
    if compiled is None or not isinstance(table, sa.Table):
        yield Write(name)
    elif isinstance(statement, Insert):
        yield _insert(name, table, statement, compiled)
    elif isinstance(statement, Update | Delete):
        yield _update_or_delete(name, table, statement, compiled)
    for other in _other_tables_set(statement, name):
        yield Write(other)
    actions = _cascading_actions(statement)
    if actions:
        near = {table.metadata} if isinstance(table, sa.Table) else metadatas()
        for child in _cascade({name}, near, actions):
            yield Write(child)


def _cascading_actions(statement: UpdateBase) -> tuple[str, ...]:
    """Name the actions of foreign keys that a statement may set off."""
    if isinstance(statement, Delete):
        return ("ondelete",)
    if isinstance(statement, Update):
        return ("onupdate",)
    if statement._prefixes:  # INSERT OR REPLACE deletes the row that was there
        return ("ondelete", "onupdate")
    return ("onupdate",) if getattr(statement, "_post_values_clause", None) is not None else ()


def _insert(name: str, table: sa.Table, statement: Insert, compiled: Any) -> Write:
    if (
        statement.select is not None
        or getattr(statement, "_post_values_clause", None) is not None
        or statement._prefixes
    ):
        return Write(name, insert=True)
    many = getattr(compiled.compile_state, "_multi_parameters", None)
    given = _given_columns(compiled)
    sets: dict[str, tuple[str, ...] | None] = {}
    for column in table.c:
        names = tuple(f"{column.key}_m{row}" for row in range(len(many))) if many else (column.key,)
        bound = all(item in compiled.binds for item in names)
        absent = column.key not in given and _has_no_default(column)
        sets[column_name(column)] = names if bound or absent else None
    return Write(name, insert=True, known=True, sets=sets, types=_types(table))


def _update_or_delete(
    name: str, table: sa.Table, statement: Update | Delete, compiled: Any
) -> Write:
    sets: dict[str, tuple[str, ...] | None] = {}
    if isinstance(statement, Update):
        given = _given_columns(compiled)
        for column in table.c:
            if column.key in compiled.binds:
                sets[column_name(column)] = (column.key,)
            elif column.key in given or column.onupdate or column.server_onupdate:
                sets[column_name(column)] = None
    where: dict[str, str] = {}
    for condition in _conditions(statement.whereclause):
        compared, parameter = _equality(condition)
        if compared is not None and compared.table.name == table.name:
            bound = compiled.bind_names.get(parameter)
            if bound is not None:
                where[column_name(compared)] = bound
    keys = tuple(column_name(column) for column in table.primary_key)
    return Write(name, known=True, where=where, sets=sets, keys=keys, types=_types(table))


def _given_columns(compiled: Any) -> frozenset[str]:
    """Name the columns that ``values()`` gave something, be it a value or an expression."""
    given = getattr(compiled.compile_state, "_dict_parameters", None) or ()
    return frozenset(getattr(column, "key", column) for column in given)


def _types(table: sa.Table) -> dict[str, Any]:
    return {column_name(column): column.type for column in table.c}


def _has_no_default(column: sa.Column[Any]) -> bool:
    return (
        column.default is None
        and column.server_default is None
        and column.computed is None
        and column.identity is None
        and not column.primary_key
    )


def _conditions(clause: Any) -> Iterator[Any]:
    """Take a WHERE clause apart at its top-level ANDs."""
    while isinstance(clause, Grouping):
        clause = clause.element
    if isinstance(clause, BooleanClauseList) and clause.operator is operators.and_:
        for part in clause.clauses:
            yield from _conditions(part)
    elif clause is not None:
        yield clause


def _equality(condition: Any) -> tuple[sa.Column[Any] | None, Any]:
    if isinstance(condition, BinaryExpression) and condition.operator is operators.eq:
        for column, operand in (
            (condition.left, condition.right),
            (condition.right, condition.left),
        ):
            if (
                isinstance(column, sa.Column)
                and isinstance(column.table, sa.Table)
                and isinstance(operand, BindParameter)
            ):
                return column, operand
    return None, None


def _other_tables_set(statement: UpdateBase, name: str) -> set[str]:
    """Name the further tables whose columns an UPDATE of several tables sets."""
    if not isinstance(statement, Update):
        return set()
    ordered = getattr(statement, "_ordered_values", None) or ()  # only in SQLAlchemy 2.0
    columns = [*(statement._values or ()), *(column for column, _ in ordered)]
    tables = {
        table_token(column.table.name)
        for column in columns
        if isinstance(column, sa.Column) and isinstance(column.table, TableClause)
    }
    return tables - {name}


def _cascade(tables: set[str], metadatas: set[sa.MetaData], actions: tuple[str, ...]) -> set[str]:
    """Name the tables that the database changes by itself, as the foreign keys declare.

    :param actions: of the keys that count; without any, all keys do.
    """
    found: set[str] = set()
    waiting = [*tables]
    keys = [
        (table_token(key.table.name), _referred(key))
        for metadata in metadatas
        for table in metadata.tables.values()
        for key in table.foreign_key_constraints
        if not actions
        or any((getattr(key, action) or "").upper() in _CASCADES for action in actions)
    ]
    while waiting:
        parent = waiting.pop()
        for child, referred in keys:
            if referred == parent and child not in found:
                found.add(child)
                waiting.append(child)
    return found


def _referred(key: sa.ForeignKeyConstraint) -> str:
    """Name the table that a key refers to, also where that is not defined yet."""
    return table_token(key.elements[0].target_fullname.split(".")[-2])
