"""Finds, explains, proves and prevents the performance problems of a Flask application."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flask_perfkit.cache.stats import cache_stats
    from flask_perfkit.detectors.own import detector
    from flask_perfkit.errors import (
        BudgetExceeded,
        CursorError,
        ExtraMissing,
        FindingError,
        ParameterError,
        PerfKitError,
        SettingsError,
        SetupError,
        StoreError,
    )
    from flask_perfkit.extension import PerfKit
    from flask_perfkit.measuring.counter import QueryCounter
    from flask_perfkit.measuring.timing import memory_tracker, timeit, timer, track_memory
    from flask_perfkit.pagination import (
        CursorPage,
        CursorParams,
        Page,
        PaginationParams,
        cursor_page_schema,
        page_schema,
        paginate,
    )
    from flask_perfkit.recording.findings import Finding
    from flask_perfkit.recording.profile import Profile
    from flask_perfkit.system.figures import get_system_metrics, log_system_metrics

__all__ = [
    "BudgetExceeded",
    "CursorError",
    "CursorPage",
    "CursorParams",
    "ExtraMissing",
    "Finding",
    "FindingError",
    "Page",
    "PaginationParams",
    "ParameterError",
    "PerfKit",
    "PerfKitError",
    "Profile",
    "QueryCounter",
    "SettingsError",
    "SetupError",
    "StoreError",
    "cache_stats",
    "cursor_page_schema",
    "detector",
    "get_system_metrics",
    "log_system_metrics",
    "memory_tracker",
    "page_schema",
    "paginate",
    "timeit",
    "timer",
    "track_memory",
]

_HOMES = {
    "cache_stats": "cache.stats",
    "detector": "detectors.own",
    "QueryCounter": "measuring.counter",
    "PerfKit": "extension",
    "Finding": "recording.findings",
    "Profile": "recording.profile",
    **dict.fromkeys(("memory_tracker", "timeit", "timer", "track_memory"), "measuring.timing"),
    **dict.fromkeys(("CursorPage", "CursorParams", "cursor_page_schema"), "pagination"),
    **dict.fromkeys(("Page", "PaginationParams", "page_schema", "paginate"), "pagination"),
    **dict.fromkeys(("get_system_metrics", "log_system_metrics"), "system.figures"),
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that importing the package costs little."""
    if name == "__version__":
        return import_module("importlib.metadata").version("flask-perfkit")
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
