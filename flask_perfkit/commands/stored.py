"""What commands share that read the store: which one it is, and of what time."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from flask import Flask

    from flask_perfkit.store.store import Store

_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_AGO = re.compile(r"(\d+)([smhd])")
_SET_UP = (
    'set PERFKIT_STORAGE_URL to "sqlite:///perfkit.db" or "redis://…", restart the application, '
    "and run this again once requests have come in"
)


def seconds_of(
    _context: click.Context, _option: click.Parameter, value: str | None
) -> float | None:
    """Read a time such as ``7d``; None where nothing was said."""
    if value is None:
        return None
    match = _AGO.fullmatch(value.strip())
    if match is None or not int(match[1]):
        raise click.BadParameter('allowed is a time such as "30m", "1h" or "7d"')
    return float(int(match[1]) * _SECONDS[match[2]])


def store_of(app: Flask) -> Store:
    """Return the store of an application.

    :raises ClickException: there is none that a command can see.
    """
    state = app.extensions["perfkit"]
    state.look_again()
    if state.store is None:
        raise click.ClickException(f"nothing is stored: {_SET_UP}")
    if state.settings.storage_url == "memory://":
        raise click.ClickException(
            "PERFKIT_STORAGE_URL is memory://, the memory of the server's own process, which this "
            f"command cannot see: {_SET_UP}"
        )
    store: Store = state.store
    return store
