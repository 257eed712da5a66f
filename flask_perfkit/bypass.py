"""Whether caches are passed by, so that the work behind them is seen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_bypassed: ContextVar[bool] = ContextVar("flask_perfkit_bypassed", default=False)

is_bypassed = _bypassed.get
"""Say whether this context makes every value anew and keeps none."""


@contextmanager
def without_caches() -> Iterator[None]:
    """Make every value anew, and keep none, for this block and all that it asks."""
    token = _bypassed.set(True)
    try:
        yield
    finally:
        _bypassed.reset(token)
