"""What is passed by: caches, so that the work behind them is seen, and the search for findings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_bypassed: ContextVar[bool] = ContextVar("flask_perfkit_bypassed", default=False)

is_bypassed = _bypassed.get
"""Say whether this context makes every value again and keeps none."""


@contextmanager
def without_caches() -> Iterator[None]:
    """Make every value again, and keep none, for this block and all that it calls."""
    token = _bypassed.set(True)
    try:
        yield
    finally:
        _bypassed.reset(token)


_unjudged: ContextVar[bool] = ContextVar("flask_perfkit_unjudged", default=False)

is_unjudged = _unjudged.get
"""Say whether requests in this context are tried only, and nobody asks for their findings."""


@contextmanager
def without_findings() -> Iterator[None]:
    """Look for no findings in the requests of this block."""
    token = _unjudged.set(True)
    try:
        yield
    finally:
        _unjudged.reset(token)
