"""Warns of settings that were changed when it was too late."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from flask_perfkit.config import PREFIX
from flask_perfkit.sinks.log import say

if TYPE_CHECKING:
    from flask import Flask


class LateChanges:
    """Compares ``app.config`` with what it was at the first request: a sink, and a visitor.

    Each change is told once, by the names of its keys.
    """

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._size = 0
        self._in_force: dict[str, Any] | None = None

    @property
    def is_late(self) -> bool:
        """Whether a change of the settings has no effect any more."""
        return self._in_force is not None

    def begin(self) -> None:
        """Take what is set by now for what is in force."""
        config = self._app.config
        self._in_force = {key: config[key] for key in list(config) if key.startswith(PREFIX)}
        self._size = len(config)

    def __call__(self, _: object) -> None:
        """Warn of what has changed since the last look."""
        before, config = self._in_force, self._app.config
        if before is None:
            return
        if len(config) == self._size and [*map(config.get, before)] == [*before.values()]:
            return
        self.begin()
        now = self._in_force or {}
        changed = sorted(key for key in {**before, **now} if before.get(key) != now.get(key))
        if changed:
            say(
                logging.WARNING,
                f"{', '.join(changed)} changed after the first request of {self._app.name!r}, "
                "which has no effect: set it before",
            )
