"""Sees to it that the log ``flask_perfkit`` is heard.

``logging.config`` switches off every logger that it was not told of, and a log that nobody has
configured shows neither what is information nor any colour.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator

import click

_NAME = "flask_perfkit"
_BESIDE = logging.getLogger(f"{_NAME}.beside")
"""Nobody knows of this logger: where it is switched off too, that was done to all of them."""

_COLOURS = {logging.WARNING: "red", logging.INFO: "blue"}
_mute_told: set[str] = set()


class Terminal(logging.Handler):
    """Writes to stderr where no handler of the host does: in colour on a terminal.

    There a finding has its cure on a line of its own; elsewhere each is one line.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, unless somebody else gets it."""
        if any(True for _ in _others(record.name)):
            return
        try:
            click.echo(self._shown(record), err=True)
        except Exception:
            self.handleError(record)

    def _shown(self, record: logging.LogRecord) -> str:
        text = self.format(record)
        if getattr(record, "finding", None) is None or not _is_terminal():
            return text
        kind, _, rest = text.partition(": ")
        what, _, cure = rest.partition("; ")
        kind = click.style(kind, fg=_COLOURS.get(record.levelno), bold=True)
        return f"{kind}: {what}\n  {click.style(cure, fg='green')}" if cure else f"{kind}: {what}"


_terminal = Terminal()


def hear(logger: logging.Logger) -> None:
    """Switch a logger on again that ``dictConfig`` or ``fileConfig`` switched off unasked."""
    if logger.disabled and _BESIDE.disabled:
        for name, each in list(logging.root.manager.loggerDict.items()):
            if isinstance(each, logging.Logger) and (name == _NAME or name.startswith(f"{_NAME}.")):
                each.disabled = False
        logger.info(
            "The logging configuration had disabled this logger, as it does with every logger that "
            'it does not name ("disable_existing_loggers"): it is enabled again'
        )


def make_heard(*, in_debug: bool, tells_findings: bool) -> None:
    """See to it that the log is heard, or say once on stderr why it is not.

    :param in_debug: what is information is shown too, where nobody configured logging.
    :param tells_findings: whether findings go to the log.
    """
    logger = logging.getLogger(_NAME)
    hear(logger)
    if _terminal not in logger.handlers:
        logger.addHandler(_terminal)
    if in_debug and logger.level == logging.NOTSET and not any(_others(_NAME)):
        logger.setLevel(logging.INFO)
    why = _why_mute(logger) if tells_findings else None
    if why is not None and why not in _mute_told:
        _mute_told.add(why)
        click.echo(
            f"PerfKit's findings are not logged: {why}. Let the logger {_NAME!r} pass "
            'warnings, or set PERFKIT_ON_FINDING = "ignore" if that is intended.',
            err=True,
        )


def _why_mute(logger: logging.Logger) -> str | None:
    """Say why no handler gets a warning, if so."""
    if logger.disabled:
        return f"the logger {_NAME!r} is disabled"
    if not logger.isEnabledFor(logging.WARNING):
        level = logging.getLevelName(max(logger.getEffectiveLevel(), logger.manager.disable))
        return f"the level of the logger {_NAME!r} is {level}, so warnings do not pass"
    others = list(_others(_NAME))
    if not others or any(each.level <= logging.WARNING for each in others if _writes(each)):
        return None
    return f"no handler of the logger {_NAME!r} takes warnings"


def _others(name: str) -> Iterator[logging.Handler]:
    """Yield the handlers beside ours that get the records of a logger."""
    logger: logging.Logger | None = logging.getLogger(name)
    while logger is not None:
        yield from (each for each in logger.handlers if each is not _terminal)
        logger = logger.parent if logger.propagate else None


def _writes(handler: logging.Handler) -> bool:
    return not isinstance(handler, logging.NullHandler)


def _is_terminal() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()
