"""Watches the commands of an application's ``flask`` line."""

from __future__ import annotations

from contextlib import suppress
from copy import copy
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from flask_perfkit.detectors.analysis import analyse
from flask_perfkit.errors import FindingError
from flask_perfkit.faults import log_once
from flask_perfkit.hooks.attributes import are_watched
from flask_perfkit.recording.callsite import stop_at
from flask_perfkit.recording.recorder import Recorder, enter, leave
from flask_perfkit.sinks import deliver
from flask_perfkit.standin import stand_in

if TYPE_CHECKING:
    import click
    from flask import Flask

    from flask_perfkit.state import State

_OURS = "perfkit"
_SECONDS = 1e-9


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

    def recorded(_: object, ctx: click.Context) -> Any:
        state.look_again()
        if not state.settings.enabled:
            return invoke(ctx)
        recorder = Recorder()
        recorder.stands_alone = True
        recorder.touched = {} if are_watched() else None
        token = enter(recorder)
        try:
            result = invoke(ctx)
        except BaseException:
            leave(token)
            with suppress(FindingError):  # its own error is what is raised
                _report(recorder, state, f"flask {command.name}")
            raise
        leave(token)
        _report(recorder, state, f"flask {command.name}")
        return result

    stop_at(recorded.__code__)
    watched.invoke = stand_in(invoke, recorded)  # type: ignore[method-assign]
    return watched


def _report(recorder: Recorder, state: State, name: str) -> None:
    duration = (perf_counter_ns() - recorder.started) * _SECONDS
    try:
        recorder.close()
        profile = analyse(recorder, state.settings, duration=duration, endpoint=name, method="CLI")
        if recorder.parent is not None:
            recorder.parent.report((*profile.findings, *profile.allowed))
        deliver(profile, state.sinks)
    except FindingError:
        raise
    except Exception:
        log_once("reporting a command")
