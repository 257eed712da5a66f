"""The ``flask perfkit`` commands: each only calls a function that a user may call."""

from __future__ import annotations

import json

import click
from flask import current_app
from flask.cli import with_appcontext

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
    headers: list[tuple[str, str]],
) -> None:
    """Ask each endpoint once by GET and say what is slow about it."""
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
    if any(finding.severity in bad for finding in result.findings):
        raise click.exceptions.Exit(1)


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not (colon and name.strip() and value.strip()):
        # What was given may be a secret: it is not repeated.
        raise click.BadParameter('allowed is "NAME: VALUE", such as "Cookie: session=..."')
    return name.strip(), value.strip()


@perfkit.command("system")
def system_command() -> None:
    """Print the figures of this machine."""
    from flask_perfkit.system import get_system_metrics

    for name, value in get_system_metrics().to_dict().items():
        click.echo(f"{name}: {value}")
