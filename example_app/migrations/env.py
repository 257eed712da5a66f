"""Runs the revisions on the application's own engine, each in a transaction of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from alembic import context
from flask import current_app
from sqlalchemy import Connection, event

_migrate = current_app.extensions["migrate"]


def _run(**target: Any) -> None:
    context.configure(
        target_metadata=_migrate.db.metadata,
        transactional_ddl=True,
        transaction_per_migration=True,
        process_revision_directives=_skip_empty_revision,
        **target,
        **_migrate.configure_args,
    )
    with context.begin_transaction():
        context.run_migrations()


def _say(step: Any, **_: Any) -> None:
    verb = "upgrade to" if step.is_upgrade else "downgrade from"
    click.echo(f"Database: {verb} {step.up_revision.revision}, {step.up_revision.doc}", err=True)


def _skip_empty_revision(_: Any, __: Any, directives: list[Any]) -> None:
    command = context.config.cmd_opts
    if getattr(command, "autogenerate", False) and directives[0].upgrade_ops.is_empty():
        directives.clear()
        click.echo("No changes in the models.", err=True)


@contextmanager
def _connect() -> Iterator[Connection]:
    with _migrate.db.engine.connect() as connection:
        if connection.dialect.name != "sqlite":
            yield connection
            return
        # A batch drops the table that it has copied: while foreign keys are enforced, that fails
        # or clears what refers to the table. And without BEGIN, half of a revision could stay.
        driver = connection.connection
        driver.execute("PRAGMA foreign_keys = OFF")
        event.listen(connection, "begin", lambda begun: begun.exec_driver_sql("BEGIN"))
        try:
            yield connection
        finally:
            connection.rollback()  # inside a transaction the next line would do nothing
            driver.execute("PRAGMA foreign_keys = ON")


if context.is_offline_mode():
    _run(url=_migrate.db.engine.url, literal_binds=True)
else:
    with _connect() as connection:
        _run(connection=connection, on_version_apply=_say)
