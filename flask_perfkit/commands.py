"""The ``flask perfkit`` commands: each only calls a function that a user may call."""

from __future__ import annotations

import json
import sys

import click
from flask import current_app
from flask.cli import with_appcontext

from flask_perfkit.errors import ExtraMissing

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

    if "perfkit" not in current_app.extensions:
        raise click.ClickException("this application has no PerfKit: call PerfKit(app) first")
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    result = audit(
        app,
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
