"""Values as texts that are equal if and only if the values are the same to whoever gets them."""

from __future__ import annotations

import enum
import secrets
import uuid
from collections.abc import Mapping, Set
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from hashlib import blake2b
from typing import Any
from zoneinfo import ZoneInfo

PLAIN = (str, int, float, bool, bytes, Decimal, uuid.UUID, date, time, timedelta, type(None))
"""Types that have a text of their own, with ``datetime``, which is a ``date``."""


def fresh() -> str:
    """Make a text that never was and never will be again."""
    return secrets.token_hex(8)


def digest(text: str) -> str:
    """Hash a text to 32 hexadecimal digits."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def joined(parts: list[str]) -> str:
    """Write texts one after another so that no other texts are written the same."""
    return "".join(f"{len(part)}:{part}" for part in parts)


def stable_text(value: Any) -> str:
    """Write a value so that the same values of one type have the same text in any process.

    Equal is not the same: 1.0 and 1.00 are other numbers to whoever shows them, and so is one
    moment in two zones. What a class says of itself in its ``__repr__`` does not count.

    :raises TypeError: it is no plain value and no collection of such.
    """
    kind = type(value)
    if isinstance(value, enum.Enum):
        return f"{_name(kind)}.{value.name}={stable_text(value.value)}"
    for base in (*_BY_CONTENT, *PLAIN):
        if isinstance(value, base) and (base is not int or kind is not bool):
            return f"{kind.__name__ if kind is base else _name(kind)}({_plain_text(value, base)})"
    if isinstance(value, Mapping):
        items = sorted(f"{stable_text(key)}:{stable_text(item)}" for key, item in value.items())
        return f"{kind.__name__}{{{','.join(items)}}}"
    if isinstance(value, Set):
        return f"{kind.__name__}{{{','.join(sorted(map(stable_text, value)))}}}"
    if isinstance(value, list | tuple):
        return f"{kind.__name__}[{','.join(map(stable_text, value))}]"
    if isinstance(value, type) and "<" not in value.__qualname__:
        return f"class {_name(value)}"
    if "_sa_instance_state" in getattr(value, "__dict__", ()):
        raise TypeError(f"a {kind.__qualname__} object; pass its primary key")
    raise TypeError(
        f"a {_name(kind)} has no stable text; pass plain values, or give cached() a key="
    )


_BY_CONTENT = (datetime,)


def _plain_text(value: Any, base: Any) -> str:
    if isinstance(value, datetime | time):
        return f"{base.__repr__(value.replace(tzinfo=None))},{_zone_text(value.tzinfo)}"
    text: str = base.__repr__(value)
    return text


def _zone_text(zone: tzinfo | None) -> str:
    if zone is None or type(zone) in (timezone, ZoneInfo):
        return repr(zone)
    if type(zone).__repr__ is object.__repr__:
        raise TypeError(f"a time in a zone of the class {_name(type(zone))}; pass it in UTC")
    return f"{_name(type(zone))} {zone!r}"


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
