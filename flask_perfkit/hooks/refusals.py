"""Watches loads that SQLAlchemy refuses: of ``raiseload``, and outside of its async context.

Nothing is done on the way of a load that works: the hooks stand where the error is made.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from sys import _getframe
from time import perf_counter_ns
from typing import Any

from sqlalchemy.exc import MissingGreenlet
from sqlalchemy.orm import ColumnProperty, strategies

from flask_perfkit.faults import log_once
from flask_perfkit.recording.callsite import walk
from flask_perfkit.recording.recorder import current
from flask_perfkit.recording.uses import attribute_name

_LOADERS = ("LazyLoader", "DeferredColumnLoader")
_loads: set[Any] = set()


def watch_refusals() -> None:
    """Note each refused load in the open recorder; harmless when called again."""
    if _loads:
        return
    for name in _LOADERS:
        # SQLAlchemy 2.1 has them with an underscore.
        loader = getattr(strategies, f"_{name}", None) or getattr(strategies, name)
        _loads.add(loader._load_for_state.__code__)
        loader._invoke_raise_load = _noting_refusal(loader._invoke_raise_load)
    MissingGreenlet.__init__ = _noting_error(MissingGreenlet.__init__)  # type: ignore[method-assign]


def _noting_refusal(refuse: Callable[..., Any]) -> Callable[..., Any]:
    def noting(self: Any, state: Any, passive: Any, lazy: str) -> None:
        _note(self, state)
        refuse(self, state, passive, lazy)

    return update_wrapper(noting, refuse)


def _noting_error(initialize: Callable[..., None]) -> Callable[..., None]:
    def noting(self: Any, *arguments: Any, **more: Any) -> None:
        initialize(self, *arguments, **more)
        frame = _getframe().f_back
        while frame is not None and frame.f_code not in _loads:
            frame = frame.f_back
        if frame is not None:
            _note(frame.f_locals["self"], frame.f_locals["state"])

    return update_wrapper(noting, initialize)


def _note(loader: Any, state: Any) -> None:
    recorder = current()
    if recorder is None:
        return
    try:
        now = perf_counter_ns()
        name = attribute_name(loader.parent_property)
        site = walk(None, _getframe(), None)
        is_column = isinstance(loader.parent_property, ColumnProperty)
        kind = "refused_column" if is_column else "refused_relationship"
        recorder.note(kind, name, state.runid or 0, now, now, site)
    except Exception:
        log_once("noting a refused load")
