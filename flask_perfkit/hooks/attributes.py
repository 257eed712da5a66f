"""Watches which attributes of loaded objects are read.

Each read costs one more function call, so this is for debug and tests. It shows which eager
loads and which wide columns nobody needs.
"""

from __future__ import annotations

from functools import update_wrapper
from typing import Any

from sqlalchemy.orm.attributes import InstrumentedAttribute

from flask_perfkit.recording.callsite import memory
from flask_perfkit.recording.recorder import current

_get = InstrumentedAttribute.__get__


def watch_attributes() -> None:
    """Note reads of mapped attributes where a recorder asks for it; harmless again."""
    if not are_watched():
        InstrumentedAttribute.__get__ = _noting_get  # type: ignore[method-assign]
        memory.clear()  # there is more to see of each statement now


def are_watched() -> bool:
    """Tell whether reads are noted in this process."""
    return InstrumentedAttribute.__get__ is _noting_get


def _noting_get(self: Any, instance: Any, owner: Any) -> Any:
    if instance is not None:
        recorder = current()
        if recorder is not None and recorder.touched is not None:
            # By identity: attributes compare into SQL expressions.
            recorder.touched[id(self)] = self
    return _get(self, instance, owner)


update_wrapper(_noting_get, _get)
