"""What lives in the process, as the garbage collector knows it."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from types import FunctionType, ModuleType


def living() -> list[object]:
    """Return all objects that are tracked."""
    with _nothing_frozen():
        return gc.get_objects()


def holders(of: object) -> list[object]:
    """Return all objects that refer to one, which is quicker than to look at all."""
    with _nothing_frozen():
        return gc.get_referrers(of)


def functions_of(filename: str, module: ModuleType) -> Iterator[FunctionType]:
    """Yield the functions that live, whose code is of a file."""
    names = vars(module)
    for each in holders(names):
        if (
            type(each) is FunctionType
            and each.__code__.co_filename == filename
            and each.__globals__ is names
        ):
            yield each


@contextmanager
def _nothing_frozen() -> Iterator[None]:
    """Let the collector tell of that too what a server has frozen before it forks."""
    if not gc.get_freeze_count():
        yield
        return
    gc.unfreeze()
    try:
        yield
    finally:
        gc.collect()  # what is garbage by now would be kept for ever
        gc.freeze()
