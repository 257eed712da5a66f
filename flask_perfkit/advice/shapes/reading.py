"""Reads a statement's text into a tree of SQLAlchemy's, over the tables of the models.

sqlglot parses; what it finds is built anew from known tables, columns and harmless functions. So
the text itself is never sent to a database, whoever wrote it: what is asked is the tree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    Column,
    FromClause,
    MetaData,
    Select,
    Table,
    bindparam,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.sql.elements import BindParameter, ColumnElement

from flask_perfkit.advice.shapes.expressions import Expressions, Unreadable
from flask_perfkit.advice.statement.terms import column_of, columns_of, table_of
from flask_perfkit.errors import ExtraMissing

LONGEST = 20_000
_PAGE = 20
_READ = ("expressions", "from_", "joins", "where", "group", "having", "order", "limit", "locks")
_NOTHING: Mapping[str, FromClause] = {}


@dataclass(frozen=True)
class Reading:
    """A tree, and its parameters: each with the column of a table that it is compared with."""

    tree: Any
    parameters: Mapping[BindParameter[Any], Column[Any] | None] = field(default_factory=dict)


def read(sql: str, metadata: MetaData, dialect: str) -> Reading:
    """Read one statement, or the shape of one, in which lists are folded.

    :raises Unreadable: it is none, or has what is not known here.
    :raises ExtraMissing: sqlglot is not installed.
    """
    try:
        import sqlglot
    except ImportError as error:
        raise ExtraMissing("reading statements that are text", "sql") from error
    if len(sql) > LONGEST:
        raise Unreadable("it is too long")
    sql = sql.replace("IN (...)", "IN (?)").replace("), ...", ")")
    dialect = {"postgresql": "postgres"}.get(dialect, dialect)
    try:
        parsed = sqlglot.parse(_named(sql, sqlglot.tokenize(sql, dialect)), dialect)
    except (sqlglot.errors.SqlglotError, RecursionError) as error:
        raise Unreadable("it is not understood") from error
    if len(parsed) != 1 or parsed[0] is None:
        raise Unreadable("it is not one statement")
    reader = _Reader(metadata, nulls_are_large=dialect == "postgres")
    try:
        tree = reader.statement(parsed[0])
    except RecursionError as error:
        raise Unreadable("it is nested too deeply") from error
    return Reading(tree, reader.parameters)


class _Reader:
    """Reads one statement; ``parameters`` are those that it has met."""

    def __init__(self, metadata: MetaData, *, nulls_are_large: bool) -> None:
        self._metadata = metadata
        self._nulls_are_large = nulls_are_large
        self.parameters: dict[BindParameter[Any], Column[Any] | None] = {}

    def statement(self, node: Any) -> Any:
        """Return the tree of a statement."""
        kinds: dict[str, Callable[[Any], Any]] = {
            "select": self.select,
            "insert": lambda node: insert(self._written(node)),
            "update": self._update,
            "delete": self._delete,
        }
        read = kinds.get(node.key)
        if read is None:
            raise Unreadable(f"{node.key.upper()} is not known")
        return read(node)

    def select(self, node: Any, outer: Mapping[str, FromClause] = _NOTHING) -> Select[Any]:
        """Return the tree of a SELECT, which may name what is around it."""
        _only(node, *_READ)
        inner = self._expressions(outer)
        from_ = node.args.get("from_")
        if from_ is None:
            raise Unreadable("it reads no table")
        joined: Any = self._source(from_.this, inner)
        for join in node.args.get("joins") or ():
            joined = self._join(joined, join, inner)
        columns = [inner.selected(each) for each in node.expressions]
        tree = select(*columns).select_from(joined)
        if where := node.args.get("where"):
            tree = tree.where(inner.read(where.this))
        if group := node.args.get("group"):
            tree = tree.group_by(*map(inner.read, group.expressions))
        if having := node.args.get("having"):
            tree = tree.having(inner.read(having.this))
        if node.args.get("distinct"):
            _only(node.args["distinct"])
            tree = tree.distinct()
        if order := node.args.get("order"):
            tree = tree.order_by(*map(inner.ordered, order.expressions))
        if limit := node.args.get("limit"):
            if limit.key != "limit":
                raise Unreadable("FETCH is not known")
            tree = tree.limit(_PAGE)
        return tree

    def _join(self, left: Any, join: Any, inner: Expressions) -> Any:
        _only(join, "this", "on", "side", "kind", "method")
        outer = join.args.get("side") == "LEFT"
        if join.args.get("side") not in (None, "", "LEFT") or join.args.get("method"):
            raise Unreadable("such a join is not known")
        source = self._source(join.this, inner)
        condition = join.args.get("on")
        if condition is None:
            raise Unreadable("a join has no ON")
        return left.join(source, inner.read(condition), isouter=outer)

    def _source(self, node: Any, inner: Expressions) -> FromClause:
        """Read a table or a subquery of FROM, and note the name that it goes by."""
        alias = node.alias or None
        if node.key == "subquery":
            if alias is None:
                raise Unreadable("a subquery has no name")
            source: FromClause = self.select(node.this).subquery(alias)
        else:
            table = self._table(node)
            alias = alias or table.name
            source = table if alias == table.name else table.alias(alias)
        inner.sources[str(alias)] = source
        return source

    def _table(self, node: Any) -> Table:
        if node.key != "table":
            raise Unreadable(f"{node.key.upper()} is not known in FROM")
        _only(node, "this", "db", "alias")
        name = f"{node.db}.{node.name}" if node.db else node.name
        table = self._metadata.tables.get(name)
        if table is None:
            raise Unreadable(f"no model has the table {name}")
        return table

    def _written(self, node: Any) -> Table:
        this = node.this
        return self._table(this.this if this.key == "schema" else this)

    def _update(self, node: Any) -> Any:
        _only(node, "this", "expressions", "where", "returning")
        table = self._written(node)
        names = [each.this.name for each in node.expressions]
        if not all(name in table.columns for name in names):
            raise Unreadable("it writes columns that no model has")
        written: dict[Any, Any] = {
            table.columns[name]: bindparam(f"written_{name}") for name in names
        }
        return self._where(update(table).values(written), table, node)

    def _delete(self, node: Any) -> Any:
        _only(node, "this", "where", "returning")
        table = self._written(node)
        return self._where(delete(table), table, node)

    def _where(self, tree: Any, table: Table, node: Any) -> Any:
        inner = self._expressions(_NOTHING)
        inner.sources[table.name] = table
        where = node.args.get("where")
        return tree if where is None else tree.where(inner.read(where.this))

    def _expressions(self, outer: Mapping[str, FromClause]) -> Expressions:
        large = self._nulls_are_large
        return Expressions(outer, self._parameter, self.select, nulls_are_large=large)

    def _parameter(self, compared: ColumnElement[Any] | None) -> BindParameter[Any]:
        """Return a parameter of the type of what it is compared with."""
        column = _column_of(compared)
        name = f"value_{len(self.parameters)}"
        bind: BindParameter[Any] = (
            bindparam(name, 1)  # such as a number that is added
            if column is None or compared is None
            else bindparam(name, type_=compared.type)
        )
        self.parameters[bind] = column
        return bind


def _named(sql: str, tokens: Sequence[Any]) -> str:
    """Return a text with names for its question marks, which may stand together with a cast."""
    for token in reversed(tokens):
        if token.text.startswith("?") and sql[token.start] == "?":
            sql = f"{sql[: token.start]}:value{sql[token.start + 1 :]}"
    return sql


def _column_of(compared: ColumnElement[Any] | None) -> Column[Any] | None:
    """Return the column that stands, maybe in a function, on a comparison's other side."""
    column = None if compared is None else next(columns_of(compared), None)
    table, name = (table_of(column.table), column_of(column)) if column is not None else (None, "")
    return None if table is None or not name else table.columns[name]


def _only(node: Any, *known: str) -> None:
    """Refuse what a node has beside what is read of it."""
    passed = {*known, "distinct", "offset", "alias"}
    for name, value in node.args.items():
        if value and name not in passed:
            raise Unreadable(f"{name.rstrip('_').upper()} is not known")
