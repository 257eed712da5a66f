"""Notes which code builds an application: it gives one routes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from flask.sansio.app import App

from flask_perfkit.standin import stand_in


@contextmanager
def building_noted(note: Callable[[FrameType], object]) -> Iterator[None]:
    """Call ``note`` with the frame that gives an application a route, during a block."""
    add_url_rule = App.add_url_rule

    def noting(app: App, *args: Any, **options: Any) -> None:
        note(sys._getframe(1))
        add_url_rule(app, *args, **options)

    App.add_url_rule = stand_in(add_url_rule, noting)  # type: ignore[method-assign]
    try:
        yield
    finally:
        App.add_url_rule = add_url_rule  # type: ignore[method-assign]
