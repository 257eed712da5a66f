"""Writes advice as a revision of Alembic's, which Flask-Migrate applies.

On PostgreSQL it builds beside writers, in an autocommit block, and gives up rather than wait long
for a lock. A concurrent build that was interrupted leaves its index INVALID: written to, never
read, and good enough for IF NOT EXISTS. So what is invalid is dropped first, and whether the index
is valid is asked at the end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from sqlalchemy import make_url

from flask_perfkit.advice.advice import Advice, Create, Drop
from flask_perfkit.advice.output.declaration import columns_code, options_code, repr_of
from flask_perfkit.errors import ExtraMissing, SetupError

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory
    from flask import Flask
    from sqlalchemy import Table

_MESSAGE = "indexes advised by flask perfkit"

_HEAD = '''"""{message}.

Revision ID: {revision}
Revises: {down}
"""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from alembic import op

revision = {revision_code}
down_revision = {down_code}
branch_labels = None
depends_on = None


def upgrade() -> None:
    with _beside_writers():
{upgrade}


def downgrade() -> None:
    with _beside_writers():
{downgrade}

'''

_TAIL = '''
@contextmanager
def _beside_writers() -> Iterator[None]:
    """Let PostgreSQL work outside a transaction, and give up rather than wait long for a lock."""
    if not _on_postgresql():
        yield
        return
    with op.get_context().autocommit_block():
        op.execute("SET lock_timeout = '5s'")
        op.execute("SET statement_timeout = 0")
        try:
            yield
        finally:
            op.execute("RESET statement_timeout")
            op.execute("RESET lock_timeout")


def _create(name, table, columns, **options) -> None:
    """Build an index; one that an interrupted build left INVALID is dropped first."""
    schema = options.get("schema")
    if _is_valid(name, schema) is False:
        op.drop_index(name, table, schema=schema, if_exists=True, postgresql_concurrently=True)
    op.create_index(
        name, table, columns, if_not_exists=True, postgresql_concurrently=True, **options
    )
    if _is_valid(name, schema) is False:
        raise RuntimeError(f"the index {name} was not built to its end: run the revision again")


def _is_valid(name, schema) -> bool | None:
    """Ask PostgreSQL whether an index is whole; None where there is none, or nobody to ask."""
    if not _on_postgresql() or op.get_context().as_sql:
        return None
    found = sa.text(
        "SELECT indisvalid FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid"
        " JOIN pg_namespace ON pg_namespace.oid = relnamespace"
        " WHERE relname = :name AND nspname = coalesce(:schema, current_schema())"
    )
    return op.get_bind().scalar(found.bindparams(name=name, schema=schema))


def _on_postgresql() -> bool:
    return op.get_context().dialect.name == "postgresql"
'''

_PARTS = '''

def _create_on_parts(name, table, definition, schema=None) -> None:
    """Build the index of a partitioned table part by part: beside writers there is no other way.

    Parts that are made meanwhile get theirs from PostgreSQL.
    """
    if not _on_postgresql():
        return
    if op.get_context().as_sql:
        raise RuntimeError(f"which parts {table} has is asked of it: upgrade without --sql")
    quote = op.get_context().dialect.identifier_preparer.quote
    op.execute(f"CREATE INDEX IF NOT EXISTS {quote(name)} ON ONLY {table} {definition}")
    whole = f"{quote(schema)}.{quote(name)}" if schema else quote(name)
    for part, has_parts, place, own in op.get_bind().execute(
        _PARTS_WITHOUT, {"table": table, "name": name, "whole": whole}
    ).all():
        theirs = f"{quote(place)}.{quote(own)}"
        if has_parts:
            _create_on_parts(own, part, definition, place)
        else:
            if _is_valid(own, place) is False:
                op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {theirs}")
            index = f"{quote(own)} ON {part} {definition}"
            op.execute(f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {index}")
        op.execute(f"ALTER INDEX {whole} ATTACH PARTITION {theirs}")
    if _is_valid(name, schema) is False:
        raise RuntimeError(f"the index {name} was not built to its end: run the revision again")


_PARTS_WITHOUT = sa.text(
    "SELECT CAST(part.oid AS regclass)::text, part.relkind = 'p', nspname,"
    " left(part.relname, 50) || '_' || left(md5(:name), 8)"
    " FROM pg_inherits JOIN pg_class part ON part.oid = inhrelid"
    " JOIN pg_namespace ON pg_namespace.oid = part.relnamespace"
    " WHERE inhparent = CAST(:table AS regclass) AND part.relkind IN ('r', 'p')"
    " AND NOT EXISTS (SELECT FROM pg_inherits JOIN pg_index ON indexrelid = inhrelid"
    " WHERE inhparent = CAST(:whole AS regclass) AND indrelid = part.oid AND indisvalid)"
    " ORDER BY 1"
)
'''


def write_revision(app: Flask, advice: Advice) -> Path:
    """Write the advice as the next revision, and return its file.

    :raises ExtraMissing: Flask-Migrate is not installed.
    :raises SetupError: the application does not use it, the revisions have several heads or are
        not all applied, the advice is on several databases, or there is nothing to write.
    """
    if not (advice.create or advice.drop):
        raise SetupError("there is nothing to write: no index is advised, and none can go")
    tables = [*(one.index.table for one in advice.create), *(one.of for one in advice.drop)]
    others = sorted({table.name for table in tables if table.metadata.info.get("bind_key")})
    if others:
        raise SetupError(
            f"a revision is for one database, and {', '.join(others)} is in one of "
            "SQLALCHEMY_BINDS: take the statements from flask perfkit indexes --sql"
        )
    script = _script(app)
    if "engine_name" in (Path(script.dir) / "script.py.mako").read_text(encoding="utf-8"):
        raise SetupError(
            "these revisions are for several databases (flask db init --multidb), in a transaction "
            "that CREATE INDEX CONCURRENTLY cannot leave: take the statements from "
            "flask perfkit indexes --sql"
        )
    heads = script.get_heads()
    if len(heads) > 1:
        raise SetupError(
            f"the revisions have several heads ({', '.join(heads)}): flask db merge first"
        )
    down = heads[0] if heads else None
    _require_applied(app, down)
    revision = _next(down)
    slug = re.sub(r"\W+", "_", _MESSAGE)
    path = Path(script.versions) / f"{revision}_{slug}.py"
    path.write_text(revision_text(advice, revision, down), encoding="utf-8")
    return path


def revision_text(advice: Advice, revision: str, down: str | None) -> str:
    """Return the revision as Python code."""
    head = _HEAD.format(
        message=_MESSAGE.capitalize(),
        revision=revision,
        down=down or "",
        revision_code=repr_of(revision),
        down_code=repr_of(down) if down else None,
        upgrade=_indented(_upgrade(advice)),
        downgrade=_indented(_downgrade(advice)),
    )
    has_parts = any(one.is_partitioned for one in advice.create)
    return head + _TAIL + (_PARTS if has_parts else "")


def _script(app: Flask) -> ScriptDirectory:
    try:
        from alembic.script import ScriptDirectory
    except ImportError as error:
        raise ExtraMissing("writing a revision", "migrate") from error
    migrate: Any = app.extensions.get("migrate")
    if migrate is None:
        raise SetupError("this application has no Flask-Migrate: call Migrate(app, db) first")
    config = migrate.migrate.get_config(migrate.directory)
    return ScriptDirectory.from_config(config)


def _require_applied(app: Flask, head: str | None) -> None:
    """Refuse a database that lacks a revision: it may hold the very indexes that are advised.

    A database without revisions was not made by them, or keeps their table elsewhere.
    """
    from alembic.migration import MigrationContext

    migrate: Any = app.extensions["migrate"]
    with migrate.db.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=migrate.configure_args)
        current = context.get_current_heads()
    if current and current != (head,):
        raise SetupError(
            f"the database is at revision {', '.join(current)}, and the last one is {head}: run "
            f"flask db upgrade first, or delete {head} if it is not meant, then ask again"
        )


def _next(down: str | None) -> str:
    """Return the number after the last where revisions are numbered, else a random id."""
    if down is not None and re.fullmatch(r"\d{3,4}", down):
        return f"{int(down) + 1:0{len(down)}}"
    return uuid4().hex[-12:]


def _upgrade(advice: Advice) -> Iterator[str]:
    for extension in sorted({one.extension for one in advice.create if one.extension}):
        yield f'op.execute("CREATE EXTENSION IF NOT EXISTS {extension}")'
    for create in advice.create:
        yield from _create(create)
    for drop in advice.drop:
        yield f"# {drop.reason}"
        yield _dropped(drop.name, drop.of)


def _downgrade(advice: Advice) -> Iterator[str]:
    for drop in advice.drop:
        yield f"op.execute({repr_of(_again(drop))})"
    for create in reversed(advice.create):
        yield _dropped(create.name, create.index.table, beside_readers=not create.is_partitioned)


def _create(create: Create) -> Iterator[str]:
    table = create.index.table
    if create.is_partitioned:
        dialect = make_url("postgresql://").get_dialect()()
        name, definition = (
            dialect.identifier_preparer.format_table(table),
            create.index.definition(dialect),
        )
        yield "_create_on_parts("
        yield f"    {repr_of(create.name)},"
        yield f"    {repr_of(name)},"
        yield f"    {repr_of(definition)},"
        if table.schema:
            yield f"    schema={repr_of(table.schema)},"
        yield ")"
        return
    yield "_create("
    yield f"    {repr_of(create.name)},"
    yield f"    {repr_of(table.name)},"
    yield f"    [{', '.join(columns_code(create.index, 'sa.text'))}],"
    if table.schema:
        yield f"    schema={repr_of(table.schema)},"
    for option in options_code(create.index, create.dialect, "sa.text"):
        yield f"    {option},"
    yield ")"


def _dropped(name: str, table: Table, *, beside_readers: bool = True) -> str:
    """Return the call that drops an index; that of a partitioned table holds it up for a moment."""
    options = ["if_exists=True", *(["postgresql_concurrently=True"] if beside_readers else [])]
    if table.schema:
        options.insert(0, f"schema={repr_of(table.schema)}")
    return f"op.drop_index({repr_of(name)}, {repr_of(table.name)}, {', '.join(options)})"


def _again(drop: Drop) -> str:
    """Return the statement that brings an index back, built beside writers where that is known."""
    words = " ".join(filter(None, ("CREATE INDEX", drop.beside_writers, "IF NOT EXISTS")))
    return drop.undo.replace("CREATE INDEX", words, 1)


def _indented(lines: Iterator[str]) -> str:
    return "\n".join(f"        {line}" for line in lines)
