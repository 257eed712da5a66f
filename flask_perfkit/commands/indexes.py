"""``flask perfkit indexes``: says which indexes to create and to drop, and writes the revision."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click
from flask.cli import with_appcontext

from flask_perfkit.commands.group import (
    asking_options,
    errors_said,
    perfkit,
    progress,
    recorded_in,
    recorded_since,
    watched_app,
    workload_option,
)
from flask_perfkit.commands.stored import seconds_of

if TYPE_CHECKING:
    from flask import Flask

    from flask_perfkit.advice.advice import Advice
    from flask_perfkit.advice.planners.access import Method


@perfkit.command("indexes")
@click.option("--sql", "as_sql", is_flag=True, help="Print the advice as DDL.")
@click.option("--json", "as_json", is_flag=True, help="Print the advice as JSON.")
@click.option("--verify", is_flag=True, help="Execute the statements with and without them.")
@click.option("--migration", is_flag=True, help="Write a Flask-Migrate revision.")
@click.option("--apply", is_flag=True, help="With --migration: write the models' lines too.")
@click.option(
    "--method",
    type=click.Choice(["build", "hypopg", "ghost"]),
    help="How indexes are tried on PostgreSQL; building them holds up writers meanwhile.",
)
@workload_option
@click.option(
    "--since",
    "seconds",
    metavar="TIME",
    callback=seconds_of,
    help='Advise on what the store holds of that time: "1h", "7d".',
)
@asking_options
@with_appcontext
def indexes_command(
    as_sql: bool,
    as_json: bool,
    verify: bool,
    migration: bool,
    apply: bool,
    method: Method | None,
    workload: Path | None,
    seconds: float | None,
    paths: tuple[str, ...],
    login: str | None,
    headers: list[tuple[str, str]],
) -> None:
    """Say which indexes to create and to drop, and write them as a revision.

    Each endpoint is asked for what it sends, unless --workload or --since have the statements.
    """
    from flask_perfkit.advice.output import report
    from flask_perfkit.audit.indexes import index_advice, index_advice_on

    if apply and not migration:
        raise click.UsageError("--apply needs --migration: models and revision go together")
    app = watched_app()
    with errors_said():
        if workload is not None or seconds is not None:
            recorded = [
                *(recorded_in(app, workload) if workload is not None else ()),
                *(recorded_since(app, seconds) if seconds is not None else ()),
            ]
            advice = index_advice_on(app, recorded, verify=verify, method=method)
        else:
            advice = index_advice(
                app,
                paths=paths,
                headers=headers,
                login=login,
                verify=verify,
                method=method,
                progress=progress,
            )
        if as_json:
            click.echo(json.dumps(advice.to_dict(), indent=2, default=str))
        else:
            lines = report.statements_of(advice) if as_sql else report.lines_of(advice)
            click.echo("\n".join(lines))
        if advice.locked:
            # Advice on a part would look like all of it: neither written nor a success.
            raise click.ClickException(report.locked_words(advice.locked))
        if migration:
            _write_migration(app, advice, apply=apply)


def _write_migration(app: Flask, advice: Advice, *, apply: bool) -> None:
    """Write the revision; the models' lines are shown, or written too."""
    from flask_perfkit.advice.output.models import model_changes
    from flask_perfkit.advice.output.revision import write_revision

    click.echo(f"written: {write_revision(app, advice)}", err=True)
    changes = model_changes(advice)
    if changes.patches and not apply:
        click.echo("the models need these lines too, which --apply writes:", err=True)
    for patch in changes.patches:
        if apply:
            patch.apply()
            click.echo(f"written: {patch.path}", err=True)
        else:
            click.echo(patch.diff)
    for words in changes.by_hand:
        click.echo(f"by hand, in {words}", err=True)
