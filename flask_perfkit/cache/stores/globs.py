"""Globs as Redis has them: ``*``, ``?``, ``[ab]``, ``[^a]``, ``[a-z]``, and the backslash."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

_PART = re.compile(r"\\.|\[[^\]]*\]|.", re.DOTALL)

Test = Callable[[str], bool]


def matches(pattern: str, text: str) -> bool:
    """Say whether the whole text matches; the time grows with pattern times text at most."""
    parts = _parts(pattern)
    place = part = 0
    star, resume = -1, 0
    while place < len(text):
        test = parts[part] if part < len(parts) else _never
        if test is None:
            star, resume = part, place
            part += 1
        elif test(text[place]):
            part += 1
            place += 1
        elif star >= 0:  # only the last star is tried again: what is before it matched already
            resume += 1
            part, place = star + 1, resume
        else:
            return False
    return all(rest is None for rest in parts[part:])


def _never(_sign: str) -> bool:
    return False


@lru_cache(maxsize=128)
def _parts(pattern: str) -> tuple[Test | None, ...]:
    """Take a glob apart: a test for each sign, None for a star."""
    return tuple(None if part == "*" else _test(part) for part in _PART.findall(pattern))


def _test(part: str) -> Test:
    if part == "?":
        return lambda _: True
    if len(part) > 2 and part.startswith("["):
        negated = part[1] == "^"
        signs = re.sub(r"([\\\[\]&~|])", r"\\\1", part[2 if negated else 1 : -1])
        allowed = re.compile(f"[{'^' if negated else ''}{signs}]", re.DOTALL)
        return lambda sign: allowed.match(sign) is not None
    wanted = part[1:] if len(part) > 1 and part.startswith("\\") else part
    return lambda sign: sign == wanted
