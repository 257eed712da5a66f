"""What the headers of an answer say of how it is sent."""

from __future__ import annotations

from typing import NamedTuple

LARGE_ANSWER = 10_000
"""Bytes of an answer from which on it matters how it is sent."""


class Answer(NamedTuple):
    """What the headers of an answer say, and of its request what decides how it may be sent.

    ``length`` is in bytes, None where it is not known; ``encoding`` is None where nothing is
    compressed. ``lasts`` says for how many seconds a cache may use it without asking.
    """

    mimetype: str
    length: int | None
    encoding: str | None
    lasts: int | None
    is_static: bool
    takes_compression: bool
    through_proxy: bool
