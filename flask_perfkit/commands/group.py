"""The group ``flask perfkit``, and what its commands share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from flask import Flask, current_app

from flask_perfkit.errors import PerfKitError
from flask_perfkit.recording.wording import counted

if TYPE_CHECKING:
    from flask_perfkit.advice.shapes.shape import StatementShape
    from flask_perfkit.advice.workload import RecordedStatement
    from flask_perfkit.audit.endpoints import Address

Command = TypeVar("Command", bound=Callable[..., Any])

_BAR = 20
_WIDEST = 79
_MOST_UNREAD = 5


class _Commands(click.Group):
    """Imports a command when it is asked for: a server that starts has no use for them."""

    names = ("audit", "fix", "indexes", "monitoring", "report", "system")

    def list_commands(self, _: click.Context) -> list[str]:
        """Return the names of the commands."""
        return list(self.names)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Return a command, which its file adds to the group; None if there is none."""
        if name in self.names:
            import_module(f"{__package__}.{name}")
        return super().get_command(context, name)


@click.group(cls=_Commands)
def perfkit() -> None:
    """Find and prove the performance problems of this application."""


def watched_app() -> Flask:
    """Return the application of the command.

    :raises ClickException: it has no PerfKit.
    """
    if "perfkit" not in current_app.extensions:
        raise click.ClickException("this application has no PerfKit: call PerfKit(app) first")
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    return app


@contextmanager
def errors_said() -> Iterator[None]:
    """Say our own errors in a line, as a command does."""
    try:
        yield
    except PerfKitError as error:
        raise click.ClickException(str(error)) from error


def asking_options(command: Command) -> Command:
    """Add the options of each command that asks the application's addresses."""
    for option in reversed(_ASKING):
        command = option(command)
    return command


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not (colon and name.strip() and value.strip()):
        # What was given may be a secret: it is not repeated.
        raise click.BadParameter('allowed is "NAME: VALUE", such as "Cookie: session=..."')
    return name.strip(), value.strip()


_ASKING = (
    click.option("--path", "paths", multiple=True, help="A further address to request."),
    click.option(
        "--login",
        metavar="USER",
        help="A user's id for Flask-Login, or module:function, which gets a client and logs in.",
    ),
    click.option(
        "--header",
        "headers",
        multiple=True,
        callback=lambda _context, _option, values: [_header(value) for value in values],
        help='Sent with each request: "Cookie: session=..." or "Authorization: Bearer ...".',
    ),
)


def workload_option(command: Command) -> Command:
    """Add the option of each command that advises on recorded statements."""
    return click.option(
        "--workload",
        "workload",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="A file of pytest --perfkit-record: statements to advise on.",
    )(command)


def recorded_in(app: Flask, path: Path) -> list[RecordedStatement]:
    """Read the statements of a workload."""
    from flask_perfkit.advice.shapes.file import read_shapes

    return _recorded(app, read_shapes(path))


def recorded_since(app: Flask, seconds: float) -> list[RecordedStatement]:
    """Read the statements that the store holds of the last seconds."""
    from flask_perfkit.advice.shapes.stored import shapes_in
    from flask_perfkit.commands.stored import store_of
    from flask_perfkit.store.reading import Period

    return _recorded(app, shapes_in(store_of(app), Period.last(seconds)))


def _recorded(app: Flask, shapes: list[StatementShape]) -> list[RecordedStatement]:
    """Read statements, and say which of them count for nothing."""
    from flask_perfkit.advice.shapes.recorded import recorded_of

    recorded, unread = recorded_of(app, shapes)
    for one in unread[:_MOST_UNREAD]:
        click.echo(f"not read, {one.reason}: {one.shape.sql[:_WIDEST]}", err=True)
    if len(unread) > _MOST_UNREAD:
        left = len(unread) - _MOST_UNREAD
        click.echo(f"not read either: {counted(left, 'more statement')}", err=True)
    return recorded


def progress(address: Address, number: int, total: int) -> None:
    """Show on a terminal how far it is, and elsewhere what is asked for."""
    if not sys.stderr.isatty():
        click.echo(f"GET {address.path}", err=True)
        return
    done = _BAR * (number + 1) // total
    text = f"[{'#' * done}{'-' * (_BAR - done)}] {number + 1}/{total} {address.path}"
    is_last = number + 1 == total
    click.echo(f"\r\x1b[K{text[:_WIDEST]}" + ("\r\x1b[K" if is_last else ""), err=True, nl=False)
