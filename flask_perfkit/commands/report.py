"""``flask perfkit report``: says what the store holds of the last time."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click
from flask.cli import with_appcontext

from flask_perfkit.commands.group import errors_said, perfkit, watched_app
from flask_perfkit.commands.stored import seconds_of, store_of

if TYPE_CHECKING:
    from flask import Flask


@perfkit.command("report")
@click.option(
    "--since",
    "seconds",
    default="1h",
    show_default=True,
    metavar="TIME",
    callback=seconds_of,
    help='How far back: "30m", "1h", "7d".',
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@with_appcontext
def report_command(seconds: float, as_json: bool) -> None:
    """Say how the application does: routes, findings, use of indexes."""
    from flask_perfkit.store.reading import Period
    from flask_perfkit.store.report import report_of

    app = watched_app()
    with errors_said():
        store = store_of(app)
        report = report_of(store, Period.last(seconds), _index_use(app))
    if as_json:
        click.echo(json.dumps(report.to_dict(), indent=2))
    else:
        click.echo("\n".join(report.lines()))


def _index_use(app: Flask) -> Any:
    """Return how the database's indexes are used; None where it is no PostgreSQL, or is gone."""
    from sqlalchemy.exc import SQLAlchemyError

    from flask_perfkit.recording.recorder import unrecorded
    from flask_perfkit.system.indexes import index_use, postgresql_of

    engine = postgresql_of(app, app.extensions["perfkit"].db)
    if engine is None:
        return None
    try:
        with unrecorded():
            return index_use(engine, 5.0)
    except SQLAlchemyError as error:
        click.echo(f"The use of indexes could not be read: {type(error).__name__}", err=True)
        return None
