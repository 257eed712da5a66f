"""``flask perfkit fix``: writes the fixes that hold into the source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
from flask.cli import with_appcontext

from flask_perfkit.commands.group import asking_options, errors_said, perfkit, progress, watched_app

if TYPE_CHECKING:
    from flask_perfkit.audit.patches.patch import Patch


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
    from flask_perfkit.audit.patches.draft import require_libcst
    from flask_perfkit.audit.patches.patch import patched

    app = watched_app()
    with errors_said():
        require_libcst()  # before each address is asked
        findings = audit(app, paths=paths, headers=headers, login=login, progress=progress).findings
        patches = []
        for patch in patched(app, findings, writes=writes):
            click.echo(f"# {patch.message}")
            click.echo(patch.diff)
            patches.append(patch)
    holding = [patch for patch in patches if patch.holds]
    click.echo(_summary(holding, writes=writes), err=True)  # what is piped to a file is a diff
    if writes and not all(patch.written for patch in holding):
        raise click.exceptions.Exit(1)


def _summary(holding: Sequence[Patch], *, writes: bool) -> str:
    """Say in a line how many patches there are, and what comes next."""
    if writes:
        written = sum(patch.written for patch in holding)
        return f"Patches written: {written}." + (" Run your tests." if written else "")
    return f"Patches that hold: {len(holding)}." + (" --apply writes them." if holding else "")
