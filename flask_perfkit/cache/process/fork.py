"""Call back in a forked child, where other threads are gone and locks may be held for ever."""

from __future__ import annotations

import os
from collections.abc import Callable
from weakref import WeakMethod

_callbacks: list[WeakMethod[Callable[[], None]]] = []


def call_after_fork(method: Callable[[], None]) -> None:
    """Call the bound method in each child that is forked, for as long as its object lives."""
    _callbacks[:] = [callback for callback in _callbacks if callback() is not None]
    _callbacks.append(WeakMethod(method))


def _in_child() -> None:
    for reference in _callbacks:
        callback = reference()
        if callback is not None:
            callback()


os.register_at_fork(after_in_child=_in_child)
