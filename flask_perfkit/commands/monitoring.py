"""``flask perfkit monitoring``: copies the files for Prometheus and Grafana."""

from __future__ import annotations

from pathlib import Path

import click

from flask_perfkit.commands.group import errors_said, perfkit


@perfkit.command("monitoring")
@click.argument("directory", default="monitoring", type=click.Path(file_okay=False, path_type=Path))
def monitoring_command(directory: Path) -> None:
    """Copy the Grafana dashboard, Prometheus rules and alerts into DIRECTORY."""
    from flask_perfkit.metrics.files import copy_monitoring

    with errors_said():
        for path in copy_monitoring(directory):
            click.echo(f"written: {path}")
