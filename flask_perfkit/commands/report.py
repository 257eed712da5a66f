"""``flask perfkit report``: says what the store holds of the last time."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import click
from flask.cli import with_appcontext

from flask_perfkit.commands.group import errors_said, perfkit, watched_app

if TYPE_CHECKING:
    from flask import Flask

    from flask_perfkit.store.reading import Store

_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_AGO = re.compile(r"(\d+)([smhd])")
_SET_UP = (
    'set PERFKIT_STORAGE_URL to "sqlite:///perfkit.db" or "redis://…", start the application '
    "anew, and ask again when requests have come"
)


def _seconds(_context: click.Context, _option: click.Parameter, value: str) -> float:
    match = _AGO.fullmatch(value.strip())
    if match is None or not int(match[1]):
        raise click.BadParameter('allowed is a time such as "30m", "1h" or "7d"')
    return float(int(match[1]) * _SECONDS[match[2]])


@perfkit.command("report")
@click.option(
    "--since",
    "seconds",
    default="1h",
    show_default=True,
    metavar="TIME",
    callback=_seconds,
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
        store = _store_of(app)
        report = report_of(store, Period.last(seconds), _index_use(app))
    if as_json:
        click.echo(json.dumps(report.to_dict(), indent=2))
    else:
        click.echo("\n".join(report.lines()))


def _store_of(app: Flask) -> Store:
    state = app.extensions["perfkit"]
    state.look_again()
    if state.store is None:
        raise click.ClickException(f"nothing is stored: {_SET_UP}")
    if state.settings.storage_url == "memory://":
        raise click.ClickException(
            "PERFKIT_STORAGE_URL is memory://, the memory of the server's own process, which this "
            f"command cannot see: {_SET_UP}"
        )
    store: Store = state.store
    return store


def _index_use(app: Flask) -> Any:
    """Return how the database's indexes are used; None where it is no PostgreSQL, or is gone."""
    from sqlalchemy.exc import SQLAlchemyError

    from flask_perfkit.recording.recorder import enter, leave
    from flask_perfkit.system.indexes import index_use

    db = app.extensions["perfkit"].db or app.extensions.get("sqlalchemy")
    engine = getattr(db, "engine", None)
    if engine is None or engine.dialect.name != "postgresql":
        return None
    token = enter(None)
    try:
        return index_use(engine, 5.0)
    except SQLAlchemyError as error:
        click.echo(f"The use of indexes could not be read: {type(error).__name__}", err=True)
        return None
    finally:
        leave(token)
