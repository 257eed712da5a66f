"""The ``flask perfkit`` commands: each only calls a function that a user may call."""

from __future__ import annotations

import click


@click.group()
def perfkit() -> None:
    """Find and prove the performance problems of this application."""
