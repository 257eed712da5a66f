"""Which relationships are batched, and where: by application, or in a block."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from flask import current_app, has_app_context
from sqlalchemy.orm import RelationshipProperty
from sqlalchemy.orm.mapper import _all_registries

from flask_perfkit.recording.uses import attribute_name

logger = logging.getLogger("flask_perfkit")

Names = bool | tuple[str, ...]
"""All relationships, none, or those named as findings name them: ``User.documents``."""

_in_block: ContextVar[Names | None] = ContextVar("flask_perfkit_auto_batch", default=None)


@contextmanager
def chosen(names: Names) -> Iterator[None]:
    """Choose relationships for a block and what it calls, whatever the application says."""
    token = _in_block.set(names)
    try:
        yield
    finally:
        _in_block.reset(token)


def is_chosen(relationship: RelationshipProperty[Any]) -> bool:
    """Tell whether the application or the block that runs wants a relationship batched."""
    names = _in_block.get()
    if names is None:
        names = _of_application()
    return names if isinstance(names, bool) else attribute_name(relationship) in _checked(names)


def _of_application() -> Names:
    state = current_app.extensions.get("perfkit") if has_app_context() else None
    return state is not None and state.settings.enabled and state.settings.auto_batch


@lru_cache(maxsize=100)
def _checked(names: tuple[str, ...]) -> frozenset[str]:
    """Return the names; the first time, warn of each that no mapped class has.

    Models need not be imported yet when the settings are read, and an error when the first
    relationship is loaded would break the request.
    """
    known = {
        attribute_name(relationship)
        for registry in _all_registries()
        for mapper in registry.mappers
        for relationship in mapper.relationships
    }
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else "known are " + ", ".join(sorted(known))
            logger.warning("PERFKIT_AUTO_BATCH names %s, which no model has; %s", name, hint)
    return frozenset(names)
