"""A check: one thing that a schema, a statement or the source shows without being measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Check:
    """What is shown, and what to do about it.

    ``kind`` is ``narrow_key``, ``unused_index``, ``invalid_index``, ``drift``,
    ``no_limit``, ``blocking_call`` or ``redis_keys``.
    """

    kind: str
    subject: str
    message: str
    fix: str
