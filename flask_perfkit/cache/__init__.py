"""The cache, and the count of what it answers."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flask_perfkit.cache.cache import Cache
    from flask_perfkit.cache.entries.serializer import NotCacheable

__all__ = ["Cache", "NotCacheable"]

_HOMES = {"Cache": "cache", "NotCacheable": "entries.serializer"}


def __getattr__(name: str) -> Any:
    """Import what is asked for: to count hits needs no cache."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
