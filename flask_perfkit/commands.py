"""The ``flask perfkit`` commands: each only calls a function that a user may call."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click
from flask import current_app
from flask.cli import with_appcontext

from flask_perfkit.errors import ExtraMissing, PerfKitError

if TYPE_CHECKING:
    from flask import Flask

    from flask_perfkit.advice.advice import Advice
    from flask_perfkit.advice.planners.access import Method

_MOST_NAMED = 5
_SEVERITIES = ("error", "warning", "info")


@click.group()
def perfkit() -> None:
    """Find and prove the performance problems of this application."""


@perfkit.command("audit")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option(
    "--fail-on",
    type=click.Choice(_SEVERITIES),
    help="Exit with 1 if a finding is as bad as this or worse.",
)
@click.option(
    "--prove", "prove_fixes", is_flag=True, help="Try each loader option that is advised."
)
@click.option("--path", "paths", multiple=True, help="An address to ask for as well.")
@click.option(
    "--allow-errors",
    is_flag=True,
    help="Exit with 0 although an answer was a 500, or a --path is not there.",
)
@click.option(
    "--header",
    "headers",
    multiple=True,
    callback=lambda _context, _option, values: [_header(value) for value in values],
    help='Sent with each request: "Cookie: session=..." or "Authorization: Bearer ...".',
)
@with_appcontext
def audit_command(
    as_json: bool,
    fail_on: str | None,
    prove_fixes: bool,
    paths: tuple[str, ...],
    allow_errors: bool,
    headers: list[tuple[str, str]],
) -> None:
    """Ask each endpoint once by GET and say what is slow about it.

    Exits with 1 on answers of 500 and above, and where a --path is not there: nothing is known of
    what lies behind them.
    """
    from flask_perfkit.audit.audit import audit
    from flask_perfkit.audit.report import lines_of

    result = audit(
        _app(),
        paths=paths,
        headers=headers,
        prove_fixes=prove_fixes,
        progress=lambda path: None if as_json else click.echo(f"GET {path}", err=True),
    )
    if as_json:
        click.echo(json.dumps(result.to_dict(), indent=2, default=str))
    else:
        click.echo("\n".join(lines_of(result)))
    bad = _SEVERITIES[: _SEVERITIES.index(fail_on) + 1] if fail_on else ()
    if result.failed and not allow_errors:
        paths_of = ", ".join(answer.path for answer in result.failed[:_MOST_NAMED])
        click.echo(
            f"audit failed: {len(result.failed)} of the answers say nothing of what was asked for "
            f"({paths_of}); --allow-errors leaves them out",
            err=True,
        )
        raise click.exceptions.Exit(1)
    if any(finding.severity in bad for finding in result.findings):
        raise click.exceptions.Exit(1)


@perfkit.command("indexes")
@click.option("--sql", "as_sql", is_flag=True, help="Print the advice as DDL.")
@click.option("--json", "as_json", is_flag=True, help="Print the advice as JSON.")
@click.option("--verify", is_flag=True, help="Execute the statements with and without them.")
@click.option("--migration", is_flag=True, help="Write a Flask-Migrate revision.")
@click.option("--apply", is_flag=True, help="With --migration: write the models' lines too.")
@click.option(
    "--method",
    type=click.Choice(["build", "ghost"]),
    help="How indexes are tried on PostgreSQL; building them holds up writers meanwhile.",
)
@click.option("--path", "paths", multiple=True, help="An address to ask for as well.")
@click.option(
    "--header",
    "headers",
    multiple=True,
    callback=lambda _context, _option, values: [_header(value) for value in values],
    help='Sent with each request: "Cookie: session=..." or "Authorization: Bearer ...".',
)
@with_appcontext
def indexes_command(
    as_sql: bool,
    as_json: bool,
    verify: bool,
    migration: bool,
    apply: bool,
    method: Method | None,
    paths: tuple[str, ...],
    headers: list[tuple[str, str]],
) -> None:
    """Say which indexes to create and to drop, and write them as a revision."""
    from flask_perfkit.advice.output import report
    from flask_perfkit.audit.indexes import index_advice

    if apply and not migration:
        raise click.UsageError("--apply needs --migration: models and revision go together")
    app = _app()
    try:
        advice = index_advice(
            app,
            paths=paths,
            headers=headers,
            verify=verify,
            method=method,
            progress=lambda path: click.echo(f"GET {path}", err=True),
        )
        if as_json:
            click.echo(json.dumps(advice.to_dict(), indent=2, default=str))
        else:
            lines = report.statements_of(advice) if as_sql else report.lines_of(advice)
            click.echo("\n".join(lines))
        if migration:
            _write_migration(app, advice, apply=apply)
    except PerfKitError as error:
        raise click.ClickException(str(error)) from error


def _write_migration(app: Flask, advice: Advice, *, apply: bool) -> None:
    """Write the revision; the models' lines are shown, or written too."""
    from flask_perfkit.advice.output.models import model_patches
    from flask_perfkit.advice.output.revision import write_revision

    click.echo(f"written: {write_revision(app, advice)}", err=True)
    for patch in model_patches(advice):
        if apply:
            patch.apply()
            click.echo(f"written: {patch.path}", err=True)
        else:
            click.echo(patch.diff)
        for words in patch.by_hand:
            click.echo(f"by hand, in {patch.path}: {words}", err=True)


def _app() -> Flask:
    if "perfkit" not in current_app.extensions:
        raise click.ClickException("this application has no PerfKit: call PerfKit(app) first")
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    return app


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not (colon and name.strip() and value.strip()):
        # What was given may be a secret: it is not repeated.
        raise click.BadParameter('allowed is "NAME: VALUE", such as "Cookie: session=..."')
    return name.strip(), value.strip()


@perfkit.command("system")
@click.option("--json", "as_json", is_flag=True, help="Print each look as a line of JSON.")
@click.option(
    "--watch",
    "seconds",
    is_flag=False,
    flag_value=2.0,
    default=None,
    type=click.FloatRange(min=0.1),
    metavar="[SECONDS]",
    help="Look again every so many seconds (2 unless said), until Ctrl-C.",
)
def system_command(as_json: bool, seconds: float | None) -> None:
    """Print the figures of this machine."""
    from flask_perfkit.system.report import looks

    in_place = not as_json and seconds is not None and sys.stdout.isatty()
    lines_before = 0
    try:
        for look in looks(seconds):
            if in_place and lines_before:
                click.echo(f"\x1b[{lines_before}F\x1b[J", nl=False)
            lines = [json.dumps(look.metrics.to_dict())] if as_json else look.lines()
            click.echo("\n".join(lines))
            lines_before = len(lines)
    except ExtraMissing as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        click.echo()
