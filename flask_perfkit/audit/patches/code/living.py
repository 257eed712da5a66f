"""What lives in the process, as the garbage collector knows it."""

from __future__ import annotations

import gc


def living() -> list[object]:
    """Return all objects that are tracked, those too that a server has frozen before it forks."""
    if not gc.get_freeze_count():
        return gc.get_objects()
    gc.unfreeze()
    try:
        return gc.get_objects()
    finally:
        gc.collect()  # what is garbage by now would be kept for ever
        gc.freeze()
