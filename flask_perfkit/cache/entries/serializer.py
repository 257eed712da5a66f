"""Values as text: JSON, with a few more types of Python, and nothing that could run code."""

from __future__ import annotations

import enum
import json
import uuid
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from markupsafe import Markup

from flask_perfkit.errors import PerfKitError

_TYPE = "perfkit:type"

# The scanner in C: json.loads looks at types and blanks around it, a fifth of a small value's time.
_scan: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder().scan_once  # type: ignore[attr-defined]


class NotCacheable(PerfKitError, TypeError):
    """A creator returned something that cannot be kept as JSON."""


_TAGS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "datetime": (datetime.isoformat, datetime.fromisoformat),
    "date": (date.isoformat, date.fromisoformat),
    "time": (time.isoformat, time.fromisoformat),
    "timedelta": (
        lambda value: [value.days, value.seconds, value.microseconds],
        lambda parts: timedelta(*parts),
    ),
    "Decimal": (str, Decimal),
    "UUID": (str, uuid.UUID),
    "bytes": (lambda value: b64encode(value).decode("ascii"), b64decode),
    "set": (list, set),
    "frozenset": (list, frozenset),
    "Markup": (str.__str__, Markup),
}
_NAMES: dict[type, str] = {
    kind: kind.__name__
    for kind in (datetime, date, time, timedelta, Decimal, uuid.UUID, bytes, set, frozenset, Markup)
}
_EXACT = frozenset({str, int, float, bool, type(None)})
_SUGGESTIONS = (
    ("_sa_instance_state", "an ORM object belongs to its session; return a dict of its columns"),
    ("_mapping", "return dict(row._mapping) for each row"),
    ("__dataclass_fields__", "return dataclasses.asdict() of it"),
    ("get_json", "cache a whole response with cached_response"),
    ("__next__", "an iterator can be read only once; return a list"),
    ("cr_await", "a coroutine is no value; await it in the function that is cached"),
    ("_member_map_", "return the member's value"),
)


def encode(value: Any) -> tuple[str, bool]:
    """Write a value as JSON and say whether it holds more than JSON's own types.

    Beyond those: datetime, date, time, timedelta, Decimal, UUID, bytes, set, frozenset,
    Markup. A tuple becomes a list, a number as a key of a dict becomes text.

    :raises NotCacheable: the value holds anything else.
    """
    writer = _Writer()
    try:
        text = json.dumps(writer.plain(value), separators=(",", ":"))
    except NotCacheable:
        raise
    except (TypeError, ValueError, RecursionError) as error:
        raise NotCacheable(f"the value cannot be cached as JSON: {error}") from error
    return text, writer.tagged


class _Writer:
    """Turns a value into what JSON writes without changing it; ``tagged``: types were noted.

    JSON alone takes a text or a number of a class of its own, such as a member of an
    enumeration, for one of the common kind.
    """

    def __init__(self) -> None:
        self.tagged = False
        self._around: set[int] = set()

    def plain(self, value: Any) -> Any:
        kind = type(value)
        if kind in _EXACT:
            return value
        if isinstance(value, dict | list | tuple):
            return self._container(value)
        if kind in _NAMES:
            self.tagged = True
            name = _NAMES[kind]
            return {_TYPE: name, "value": self.plain(_TAGS[name][0](value))}
        raise NotCacheable(_refusal(value))

    def _container(self, value: Any) -> Any:
        if id(value) in self._around:
            raise ValueError("Circular reference detected")
        self._around.add(id(value))
        plain = (
            self._dict(value) if isinstance(value, dict) else [self.plain(item) for item in value]
        )
        self._around.discard(id(value))
        return plain

    def _dict(self, value: dict[Any, Any]) -> dict[str, Any]:
        plain = {_key(key): self.plain(item) for key, item in value.items()}
        if len(plain) != len(value):
            raise NotCacheable("the value cannot be cached: two keys of a dict have the same text")
        if _TYPE in plain:
            raise NotCacheable(f'the value cannot be cached: it has a key named "{_TYPE}"')
        return plain


def _key(key: Any) -> str:
    """Write the key of a dict as JSON does, where that only turns a number into text."""
    if type(key) is str or (isinstance(key, str) and not isinstance(key, enum.Enum | Markup)):
        return str.__str__(key)
    if type(key) in _EXACT:
        return json.dumps(key)
    raise NotCacheable(
        f"the value cannot be cached: the key of a dict is a {type(key).__module__}."
        f"{type(key).__qualname__}; use text"
    )


def decode(text: str, tagged: bool) -> Any:
    """Read what :func:`encode` wrote.

    :raises ValueError: it is something else.
    """
    if tagged:
        return json.loads(text, object_hook=_untag)
    try:
        value, end = _scan(text, 0)
    except StopIteration as error:
        raise ValueError("no JSON") from error
    if end != len(text):
        raise ValueError("something follows the JSON")
    return value


def _untag(item: dict[str, Any]) -> Any:
    if _TYPE not in item:
        return item
    name = item[_TYPE]
    if name not in _TAGS:
        raise ValueError(f"unknown type {name!r}")
    try:
        return _TAGS[name][1](item["value"])
    except (ArithmeticError, KeyError, TypeError) as error:
        raise ValueError(f"bad {name}") from error


def _refusal(item: Any) -> str:
    kind = type(item)
    known = (
        suggestion
        for attribute, suggestion in _SUGGESTIONS
        if hasattr(kind, attribute) or attribute in getattr(item, "__dict__", ())
    )
    suggestion = next(known, "return plain data: dict, list, str, numbers, dates")
    return f"a {kind.__module__}.{kind.__qualname__} cannot be cached: {suggestion}"
