"""What users hand over: functions to decorate, and functions to be called."""

from __future__ import annotations

from inspect import iscoroutinefunction
from typing import Any

CALLED = "a callable that is no async function"
"""What is allowed where :func:`is_called` tells no."""


def is_called(value: Any) -> bool:
    """Tell whether calling it does its work: an async function has to be awaited, which we do not.

    Whoever gave one would wait for something that never runs.
    """
    call = getattr(type(value), "__call__", None)  # noqa: B004 - it may be a coroutine function
    return callable(value) and not (iscoroutinefunction(value) or iscoroutinefunction(call))


def check_decorated(function: Any, decorator: str) -> None:
    """Refuse what a decorator cannot wrap.

    :param decorator: as it is written, such as ``timeit``.
    :raises TypeError: it is no function, or a class, which would be one no more.
    """
    if isinstance(function, type):
        raise TypeError(
            f"@{decorator} is put on the class {function.__qualname__}, which would be a class no "
            "more; allowed is a function: put it on the methods"
        )
    if not callable(function):
        raise TypeError(f"@{decorator} is put on {function!r:.100}; allowed is a function")
