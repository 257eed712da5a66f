"""Warnings of the cache, which never break what they warn of."""

from __future__ import annotations

import contextlib
import logging

_logger = logging.getLogger("flask_perfkit.cache")


def warn(message: str, *arguments: object) -> None:
    """Log a warning; a handler of the application that fails is passed over."""
    with contextlib.suppress(Exception):
        _logger.warning(message, *arguments)
