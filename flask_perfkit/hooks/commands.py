"""Watches the commands of an application's ``flask`` line."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any

from flask_perfkit.hooks.work import recorded
from flask_perfkit.recording.callsite import stop_at
from flask_perfkit.standin import stand_in

if TYPE_CHECKING:
    import click
    from flask import Flask

    from flask_perfkit.state import State

_OURS = "perfkit"


def watch_commands(app: Flask, state: State) -> None:
    """Record each command of ``app.cli``, those that are added later included."""
    get_command = app.cli.get_command

    def get_watched(_: object, ctx: click.Context, cmd_name: str) -> click.Command | None:
        command = get_command(ctx, cmd_name)
        if command is None or command.name == _OURS:
            return command
        return _watched(command, state)

    app.cli.get_command = stand_in(get_command, get_watched)  # type: ignore[method-assign]


def _watched(command: click.Command, state: State) -> click.Command:
    """Return a copy that records: a blueprint's command may serve several applications."""
    watched = copy(command)
    invoke = watched.invoke

    def watched_invoke(_: object, ctx: click.Context) -> Any:
        state.look_again()
        if not state.settings.enabled:
            return invoke(ctx)
        with recorded(state, f"flask {command.name}", "CLI"):
            return invoke(ctx)

    stop_at(watched_invoke.__code__)
    watched.invoke = stand_in(invoke, watched_invoke)  # type: ignore[method-assign]
    return watched
