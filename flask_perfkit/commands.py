"""The ``flask perfkit`` commands: each only calls a function that a user may call."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click
from flask import Flask, current_app
from flask.cli import with_appcontext

from flask_perfkit.errors import ExtraMissing

_SEVERITIES = ("error", "warning", "info")


@click.group()
def perfkit() -> None:
    """Find, prove and mend the performance problems of this application."""


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

    result = audit(
        _watched_app(),
        paths=paths,
        headers=headers,
        prove_fixes=prove_fixes,
        progress=(lambda path: None) if as_json else _show_path,
    )
    if as_json:
        click.echo(json.dumps(result.to_dict(), indent=2, default=str))
    else:
        click.echo("\n".join(lines_of(result)))
    bad = _SEVERITIES[: _SEVERITIES.index(fail_on) + 1] if fail_on else ()
    if any(finding.severity in bad for finding in result.findings):
        raise click.exceptions.Exit(1)


def _watched_app() -> Flask:
    if "perfkit" not in current_app.extensions:
        raise click.ClickException("this application has no PerfKit: call PerfKit(app) first")
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    return app


def _show_path(path: str) -> None:
    click.echo(f"GET {path}", err=True)


@contextmanager
def _no_extra_missing() -> Iterator[None]:
    try:
        yield
    except ExtraMissing as error:
        raise click.ClickException(str(error)) from error


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not (colon and name.strip() and value.strip()):
        # What was given may be a secret: it is not repeated.
        raise click.BadParameter('allowed is "NAME: VALUE", such as "Cookie: session=..."')
    return name.strip(), value.strip()


@perfkit.command("fix")
@click.option("--apply", "writes", is_flag=True, help="Write the patches that hold.")
@click.option("--path", "paths", multiple=True, help="An address to ask for as well.")
@click.option(
    "--header",
    "headers",
    multiple=True,
    callback=lambda _context, _option, values: [_header(value) for value in values],
    help='Sent with each request: "Cookie: session=..." or "Authorization: Bearer ...".',
)
@with_appcontext
def fix_command(writes: bool, paths: tuple[str, ...], headers: list[tuple[str, str]]) -> None:
    """Print a patch for each finding whose fix holds; with --apply, write it."""
    from flask_perfkit.audit.audit import audit
    from flask_perfkit.audit.patches.patch import patched

    app = _watched_app()
    with _no_extra_missing():
        findings = audit(app, paths=paths, headers=headers, progress=_show_path).findings
        failed = False
        for patch in patched(app, findings, writes=writes):
            click.echo(f"# {patch.message}")
            click.echo(patch.diff)
            failed = failed or (writes and patch.holds and not patch.written)
    if failed:
        raise click.exceptions.Exit(1)


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
