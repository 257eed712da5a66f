"""``flask perfkit fix``: writes the fixes that hold into the source."""

from __future__ import annotations

import click
from flask.cli import with_appcontext

from flask_perfkit.commands.group import asking_options, errors_said, perfkit, progress, watched_app


@perfkit.command("fix")
@click.option("--apply", "writes", is_flag=True, help="Write the patches that hold.")
@asking_options
@with_appcontext
def fix_command(
    writes: bool,
    paths: tuple[str, ...],
    login: str | None,
    headers: list[tuple[str, str]],
) -> None:
    """Print a patch for each finding whose fix holds; with --apply, write it."""
    from flask_perfkit.audit.audit import audit
    from flask_perfkit.audit.patches.patch import patched

    app = watched_app()
    with errors_said():
        findings = audit(app, paths=paths, headers=headers, login=login, progress=progress).findings
        failed = False
        for patch in patched(app, findings, writes=writes):
            click.echo(f"# {patch.message}")
            click.echo(patch.diff)
            failed = failed or (writes and patch.holds and not patch.written)
    if failed:
        raise click.exceptions.Exit(1)
