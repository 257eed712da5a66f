"""What the live database changes by itself: cascades, partitions, views and triggers.

Models need not declare any of that. PostgreSQL and SQLite are asked on the connection that is
about to write, once a minute and after each definition that passes; of other databases only what
the models declare is known.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from flask_perfkit.cache.entries.dependencies import ANYTHING, table_token
from flask_perfkit.cache.writes.isolation import in_transaction
from flask_perfkit.cache.writes.texts import fragment_writes, names_in
from flask_perfkit.faults import log_once

_SECONDS = 60.0
_KEPT = "flask_perfkit.cache.schema"

_LOCKING = "sqlite"
_ALWAYS, _DELETE, _UPDATE = "always", "delete", "update"

_POSTGRES = """
SELECT 'fk', p.relname, c.relname, f.confdeltype::text, f.confupdtype::text
  FROM pg_catalog.pg_constraint f
  JOIN pg_catalog.pg_class c ON c.oid = f.conrelid
  JOIN pg_catalog.pg_class p ON p.oid = f.confrelid
 WHERE f.contype = 'f' AND (f.confdeltype IN ('c', 'n', 'd') OR f.confupdtype IN ('c', 'n', 'd'))
UNION ALL
SELECT 'both', p.relname, c.relname, '', ''
  FROM pg_catalog.pg_inherits i
  JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
  JOIN pg_catalog.pg_class p ON p.oid = i.inhparent
 WHERE c.relkind IN ('r', 'p', 'f')
UNION ALL
SELECT DISTINCT 'both', t.relname, v.relname, '', ''
  FROM pg_catalog.pg_depend d
  JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid
  JOIN pg_catalog.pg_class v ON v.oid = r.ev_class
  JOIN pg_catalog.pg_class t ON t.oid = d.refobjid
 WHERE d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND v.oid <> t.oid
   AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND v.relkind = 'v'
   AND v.relnamespace <> 'pg_catalog'::pg_catalog.regnamespace
   AND v.relnamespace <> 'information_schema'::pg_catalog.regnamespace
UNION ALL
SELECT 'trigger', c.relname, p.prosrc, '', ''
  FROM pg_catalog.pg_trigger t
  JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid
  JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid
 WHERE NOT t.tgisinternal
"""
_FOLLOWING = frozenset({"c", "n", "d", "CASCADE", "SET NULL", "SET DEFAULT"})

Query = Callable[[str], list[tuple[Any, ...]]]


@dataclass
class Schema:
    """For each table those that change with it: always, by a DELETE, by an UPDATE of its key."""

    until: float
    follows: dict[str, dict[str, set[str]]] = field(
        default_factory=lambda: {_ALWAYS: {}, _DELETE: {}, _UPDATE: {}}
    )

    def add(self, kind: str, table: str, others: Iterable[str]) -> None:
        """Note that others change when a table does."""
        self.follows[kind].setdefault(table_token(table), set()).update(others)

    def reached(self, tables: Iterable[str], kinds: tuple[str, ...]) -> set[str]:
        """Name all tables that change with these, over any number of steps."""
        found: set[str] = set()
        waiting = list(tables)
        while waiting:
            table = waiting.pop()
            for kind in kinds:
                new = self.follows[kind].get(table, set()) - found
                found |= new
                waiting += new
        return found


def related_tables(context: Any, tables: list[str]) -> set[str]:
    """Name the tables that the database changes when the statement changes these."""
    if not tables or ANYTHING in tables or context.dialect.name not in _READERS:
        return set()
    if context.dialect.name != _LOCKING:
        look_at_schema(context)
    schema: Schema | None = context.dialect.__dict__.get(_KEPT)
    return {ANYTHING} if schema is None else schema.reached(tables, _kinds(context))


def look_at_schema_in_time(context: Any) -> None:
    """Look at SQLite's schema before a transaction begins on the connection.

    Inside of one, a read before the first write may make it fail: it takes a lock that another
    writer waits for.
    """
    if context.dialect.name == _LOCKING and not in_transaction(context.root_connection):
        look_at_schema(context)


def look_at_schema(context: Any) -> None:
    """Ask the database, unless that was done a moment ago."""
    kept: Schema | None = context.dialect.__dict__.get(_KEPT)
    now = time.monotonic()
    if kept is not None and kept.until > now:
        return
    found = Schema(now + _SECONDS)
    try:
        _READERS[context.dialect.name](lambda text: _ask(context, text), found)
    except Exception:
        log_once("asking the database for its cascades, views and triggers")
    context.dialect.__dict__[_KEPT] = found


def forget_schema(context: Any) -> None:
    """Ask again in time for the next write, as a definition is about to change."""
    context.dialect.__dict__.pop(_KEPT, None)


def _kinds(context: Any) -> tuple[str, ...]:
    if context.isinsert:
        return (_ALWAYS,)
    if context.isdelete:
        return (_ALWAYS, _DELETE, _UPDATE)  # what a SET NULL changes may cascade in turn
    return (_ALWAYS, _UPDATE) if context.isupdate else (_ALWAYS, _DELETE, _UPDATE)


def _ask(context: Any, text: str) -> list[tuple[Any, ...]]:
    cursor = context.root_connection.connection.cursor()
    try:
        cursor.execute(text)
        return list(cursor.fetchall())
    finally:
        cursor.close()


def _read_postgres(ask: Query, schema: Schema) -> None:
    for kind, table, other, on_delete, on_update in ask(_POSTGRES):
        if kind == "trigger":
            schema.add(_ALWAYS, table, fragment_writes(other))
        elif kind == "both":
            schema.add(_ALWAYS, table, [table_token(other)])
            schema.add(_ALWAYS, other, [table_token(table)])
        else:
            _add_key(schema, table, other, on_delete, on_update)


def _read_sqlite(ask: Query, schema: Schema) -> None:
    rows = ask("SELECT type, name, tbl_name, sql FROM sqlite_master WHERE sql IS NOT NULL")
    tables = {table_token(name) for kind, name, _, _ in rows if kind in ("table", "view")}
    for kind, name, table, text in rows:
        if kind == "trigger":
            schema.add(_ALWAYS, table, fragment_writes(text.partition("BEGIN")[2] or text))
        elif kind == "view":
            for base in names_in(text) & tables - {table_token(name)}:
                schema.add(_ALWAYS, base, [table_token(name)])
        elif kind == "table" and "references" in text.lower():
            quoted = name.replace('"', '""')
            for key in ask(f'PRAGMA foreign_key_list("{quoted}")'):
                _add_key(schema, key[2], name, key[6], key[5])


def _add_key(schema: Schema, parent: str, child: str, on_delete: str, on_update: str) -> None:
    if on_delete in _FOLLOWING:
        schema.add(_DELETE, parent, [table_token(child)])
    if on_update in _FOLLOWING:
        schema.add(_UPDATE, parent, [table_token(child)])


_READERS: dict[str, Callable[[Query, Schema], None]] = {
    "postgresql": _read_postgres,
    "sqlite": _read_sqlite,
}
