"""The trace of one request beside a histogram: from the figure to an example.

A trace is kept as numbers of 32 bits, which doubles hold exactly.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from flask_perfkit.metrics.store.layout import EXEMPLAR

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_SAMPLED = 1
_WORD = 8  # hex digits in 32 bits
_WORDS = 6


class Exemplar(NamedTuple):
    """One request: its duration in seconds, when it ended, and its trace in hex digits."""

    trace_id: str
    span_id: str
    seconds: float
    at: float


def trace_of(traceparent: str) -> tuple[str, str] | None:
    """Return trace and span of a W3C ``traceparent`` that somebody records; else None."""
    found = _TRACEPARENT.fullmatch(traceparent[:100])
    if found is None or not int(found[3], 16) & _SAMPLED or not int(found[1], 16):
        return None
    return found[1], found[2]


def write_exemplar(row: memoryview[float], exemplar: Exemplar) -> None:
    """Keep an exemplar in a request's row, in place of the one before."""
    digits = exemplar.trace_id + exemplar.span_id
    for place in range(_WORDS):
        word = digits[place * _WORD : (place + 1) * _WORD]
        row[EXEMPLAR + place] = int(word, 16)
    row[EXEMPLAR + _WORDS] = exemplar.seconds
    row[EXEMPLAR + _WORDS + 1] = exemplar.at


def read_exemplar(cells: Sequence[float]) -> Exemplar | None:
    """Return what the row of a request keeps."""
    *words, seconds, at = cells[EXEMPLAR : EXEMPLAR + _WORDS + 2]
    if not at:
        return None
    digits = "".join(f"{int(word) & 0xFFFFFFFF:08x}" for word in words)
    return Exemplar(digits[:32], digits[32:], seconds, at)
