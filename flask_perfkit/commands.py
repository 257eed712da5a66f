"""The ``flask perfkit`` commands: each only calls a function that a user may call."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click
from flask import Flask, current_app
from flask.cli import with_appcontext

from flask_perfkit.errors import ExtraMissing, SetupError

if TYPE_CHECKING:
    from flask_perfkit.audit.audit import Audit
    from flask_perfkit.audit.endpoints import Address

_SEVERITIES = ("error", "warning", "info")
_FILE = click.Path(dir_okay=False, writable=True, path_type=Path)
_BAR = 20
_MOST_NAMED = 5
_WIDEST = 79


@click.group()
def perfkit() -> None:
    """Find, prove and mend the performance problems of this application."""


@perfkit.command("audit")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("--html", type=_FILE, help="Write the report as one HTML file.")
@click.option(
    "--sarif", type=_FILE, help="Write the findings as SARIF, for code hosts and editors."
)
@click.option(
    "--fail-on",
    type=click.Choice(_SEVERITIES),
    help="Exit with 1 if a finding is as bad as this or worse.",
)
@click.option(
    "--allow-errors", is_flag=True, help="Exit with 0 though an address failed or is not there."
)
@click.option(
    "--prove", "prove_fixes", is_flag=True, help="Try each loader option that is advised."
)
@click.option("--path", "paths", multiple=True, help="An address to ask for as well.")
@click.option(
    "--data",
    type=click.File(encoding="utf-8"),
    help="A file of addresses to ask for as well, one a line.",
)
@click.option(
    "--login",
    metavar="USER",
    help="The id of a user of Flask-Login, or module:function, which gets a client and logs in.",
)
@click.option(
    "--header",
    "headers",
    multiple=True,
    callback=lambda _context, _option, values: [_header(value) for value in values],
    help='Sent with each request: "Cookie: session=..." or "Authorization: Bearer ...".',
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=20.0,
    show_default=True,
    help="How long one address may take.",
)
@with_appcontext
def audit_command(
    as_json: bool,
    html: Path | None,
    sarif: Path | None,
    fail_on: str | None,
    allow_errors: bool,
    prove_fixes: bool,
    paths: tuple[str, ...],
    data: TextIO | None,
    login: str | None,
    headers: list[tuple[str, str]],
    seconds: float,
) -> None:
    """Ask each endpoint by GET and say what is slow about it."""
    from flask_perfkit.audit.asking import DEFAULT_LIMITS
    from flask_perfkit.audit.audit import audit
    from flask_perfkit.audit.page import page_of
    from flask_perfkit.audit.report import lines_of
    from flask_perfkit.audit.sarif import sarif_of

    app = _watched_app()
    for file in filter(None, (html, sarif)):
        if not file.absolute().parent.is_dir():
            raise click.ClickException(f"{file} cannot be written: there is no {file.parent}")
    listed = [line.strip() for line in data or () if line.strip() and not line.startswith("#")]
    try:
        result = audit(
            app,
            paths=(*paths, *listed),
            headers=headers,
            login=login,
            limits=DEFAULT_LIMITS._replace(seconds=seconds),
            prove_fixes=prove_fixes,
            progress=_progress,
        )
    except SetupError as error:
        raise click.ClickException(str(error)) from error
    if html is not None:
        html.write_text(page_of(result, app.name, datetime.now()), encoding="utf-8")
    if sarif is not None:
        sarif.write_text(json.dumps(sarif_of(result, Path.cwd()), indent=2), encoding="utf-8")
    if as_json:
        click.echo(json.dumps(result.to_dict(), indent=2, default=str))
    else:
        click.echo("\n".join(lines_of(result)))
    _exit_after(result, fail_on, allow_errors=allow_errors)


def _progress(address: Address, number: int, total: int) -> None:
    """Show on a terminal how far it is, and elsewhere what is asked for."""
    if not sys.stderr.isatty():
        click.echo(f"GET {address.path}", err=True)
        return
    done = _BAR * (number + 1) // total
    text = f"[{'#' * done}{'-' * (_BAR - done)}] {number + 1}/{total} {address.path}"
    is_last = number + 1 == total
    click.echo(f"\r\x1b[K{text[:_WIDEST]}" + ("\r\x1b[K" if is_last else ""), err=True, nl=False)


def _exit_after(result: Audit, fail_on: str | None, *, allow_errors: bool) -> None:
    """End with 1 on what a gate must not let through, and with 130 after Ctrl-C as shells do."""
    if result.interrupted:
        raise click.exceptions.Exit(130)
    if result.failed and not allow_errors:
        paths = ", ".join(str(visit.address.path) for visit in result.failed[:_MOST_NAMED])
        click.echo(
            f"audit failed: {len(result.failed)} of the answers say nothing of what was asked for "
            f"({paths}); --allow-errors leaves them out",
            err=True,
        )
        raise click.exceptions.Exit(1)
    bad = _SEVERITIES[: _SEVERITIES.index(fail_on) + 1] if fail_on else ()
    if any(finding.severity in bad for finding in result.findings):
        raise click.exceptions.Exit(1)


def _watched_app() -> Flask:
    if "perfkit" not in current_app.extensions:
        raise click.ClickException("this application has no PerfKit: call PerfKit(app) first")
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    return app


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
        findings = audit(app, paths=paths, headers=headers, progress=_progress).findings
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
