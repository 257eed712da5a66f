"""``flask perfkit system``: prints the figures of this machine."""

from __future__ import annotations

import json
import sys

import click

from flask_perfkit.commands.group import errors_said, perfkit


@perfkit.command("system")
@click.option("--json", "as_json", is_flag=True, help="Print each reading as a line of JSON.")
@click.option(
    "--watch",
    "seconds",
    is_flag=False,
    flag_value=2.0,
    default=None,
    type=click.FloatRange(min=0.1),
    metavar="[SECONDS]",
    help="Read them again every so many seconds (2 unless given), until Ctrl-C.",
)
def system_command(as_json: bool, seconds: float | None) -> None:
    """Print the figures of this machine."""
    from flask_perfkit.system.report import looks

    in_place = not as_json and seconds is not None and sys.stdout.isatty()
    lines_before = 0
    try:
        with errors_said():
            for look in looks(seconds):
                if in_place and lines_before:
                    click.echo(f"\x1b[{lines_before}F\x1b[J", nl=False)
                lines = [json.dumps(look.metrics.to_dict())] if as_json else look.lines()
                click.echo("\n".join(lines))
                lines_before = len(lines)
    except KeyboardInterrupt:
        click.echo()
