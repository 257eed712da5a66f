"""``flask perfkit audit``: asks each endpoint, and says what is slow about it."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click
from flask.cli import with_appcontext

from flask_perfkit.commands.group import (
    asking_options,
    errors_said,
    perfkit,
    progress,
    recorded_in,
    watched_app,
    workload_option,
)
from flask_perfkit.recording.wording import counted

if TYPE_CHECKING:
    from flask_perfkit.audit.audit import Audit

_SEVERITIES = ("error", "warning", "info")
_FILE = click.Path(dir_okay=False, writable=True, path_type=Path)
_MOST_NAMED = 5


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
    "--allow-errors",
    is_flag=True,
    help="Exit with 0 though an address failed or is not there, or a table was locked.",
)
@click.option(
    "--prove", "prove_fixes", is_flag=True, help="Try each loader option that is advised."
)
@workload_option
@asking_options
@click.option("--no-indexes", is_flag=True, help="Leave out the advice on indexes.")
@click.option(
    "--data",
    type=click.File(encoding="utf-8"),
    help="A file of further addresses to request, one per line.",
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
    no_indexes: bool,
    workload: Path | None,
    paths: tuple[str, ...],
    data: TextIO | None,
    login: str | None,
    headers: list[tuple[str, str]],
    seconds: float,
) -> None:
    """Request each endpoint by GET and report what is slow about it."""
    from flask_perfkit.audit.asking import DEFAULT_LIMITS
    from flask_perfkit.audit.audit import audit
    from flask_perfkit.audit.page import page_of
    from flask_perfkit.audit.report import lines_of
    from flask_perfkit.audit.sarif import sarif_of

    app = watched_app()
    for file in filter(None, (html, sarif)):
        if not file.absolute().parent.is_dir():
            raise click.ClickException(f"{file} cannot be written: there is no {file.parent}")
    listed = [line.strip() for line in data or () if line.strip() and not line.startswith("#")]
    with errors_said():
        result = audit(
            app,
            paths=(*paths, *listed),
            headers=headers,
            login=login,
            limits=DEFAULT_LIMITS._replace(seconds=seconds),
            prove_fixes=prove_fixes,
            with_indexes=not no_indexes,
            recorded=recorded_in(app, workload) if workload is not None else (),
            progress=progress,
        )
    if html is not None:
        html.write_text(page_of(result, app.name, datetime.now()), encoding="utf-8")
    if sarif is not None:
        sarif.write_text(json.dumps(sarif_of(result, Path.cwd()), indent=2), encoding="utf-8")
    if as_json:
        click.echo(json.dumps(result.to_dict(), indent=2, default=str))
    else:
        click.echo("\n".join(lines_of(result)))
    _exit_after(result, fail_on, allow_errors=allow_errors)


def _exit_after(result: Audit, fail_on: str | None, *, allow_errors: bool) -> None:
    """End with 1 on what a gate must not let through, and with 130 after Ctrl-C as shells do."""
    from flask_perfkit.advice.output.report import locked_words

    if result.interrupted:
        raise click.exceptions.Exit(130)
    if result.failed and not allow_errors:
        paths = ", ".join(str(visit.address.path) for visit in result.failed[:_MOST_NAMED])
        click.echo(
            f"audit failed: {counted(len(result.failed), 'address', 'addresses')} answered with an "
            f"error or were not found ({paths}): see above for why; --allow-errors lets that pass",
            err=True,
        )
        raise click.exceptions.Exit(1)
    if result.locked and not allow_errors:
        click.echo(f"audit failed: {locked_words(result.locked)}", err=True)
        raise click.exceptions.Exit(1)
    bad = _SEVERITIES[: _SEVERITIES.index(fail_on) + 1] if fail_on else ()
    if any(finding.severity in bad for finding in result.findings):
        raise click.exceptions.Exit(1)
