"""Keys of cached calls: the function's name, then a stable hash of its arguments."""

from __future__ import annotations

import enum
import inspect
import uuid
from collections.abc import Callable, Mapping, Set
from datetime import date, time, timedelta
from decimal import Decimal
from hashlib import blake2b
from typing import Any

_PLAIN = (str, int, float, bool, bytes, Decimal, uuid.UUID, date, time, timedelta, type(None))
_MOST_REMEMBERED = 2048
_LONGEST_REMEMBERED = 200


class CallKeys:
    """The keys of one function's calls: ``package.module.function:9f2c41d0…``.

    Arguments count by value and type, defaults included, however they are passed.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.name = f"{function.__module__}.{function.__qualname__}"
        self._signature = inspect.signature(function)
        self._remembered: dict[Any, str] = {}

    def key(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        """Return the key of a call.

        :raises TypeError: an argument has no stable text, such as an ORM object.
        """
        try:
            call = (args, *map(type, args), *kwargs.items(), *map(type, kwargs.values()))
            known = self._remembered.get(call)
        except TypeError:
            return self._make(args, kwargs)
        if known is None:
            known = self._make(args, kwargs)
            if all(_is_small(value) for value in (*args, *kwargs.values())):
                if len(self._remembered) >= _MOST_REMEMBERED:
                    self._remembered.clear()
                self._remembered[call] = known
        return known

    def _make(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        if not bound.arguments:
            return self.name
        texts = [f"{name}={self._text(name, value)}" for name, value in bound.arguments.items()]
        return f"{self.name}:{digest('&'.join(texts))}"

    def _text(self, name: str, value: Any) -> str:
        try:
            return stable_text(value)
        except TypeError as error:
            raise TypeError(
                f"argument {name!r} of {self.name} cannot be part of a cache key: {error}"
            ) from None


def _is_small(value: Any) -> bool:
    return type(value) in _PLAIN and (
        not isinstance(value, str | bytes) or len(value) <= _LONGEST_REMEMBERED
    )


def digest(text: str) -> str:
    """Hash a text to 32 hexadecimal digits."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def stable_text(value: Any) -> str:
    """Write a value so that equal values of one type have equal text in any process.

    :raises TypeError: it is no plain value and no collection of such.
    """
    kind = type(value)
    if kind in _PLAIN:
        return f"{kind.__name__}({value!r})"
    if isinstance(value, enum.Enum):
        return f"{kind.__module__}.{kind.__qualname__}.{value.name}"
    if isinstance(value, Mapping):
        items = sorted(f"{stable_text(key)}:{stable_text(item)}" for key, item in value.items())
        return f"{kind.__name__}{{{','.join(items)}}}"
    if isinstance(value, Set):
        return f"{kind.__name__}{{{','.join(sorted(map(stable_text, value)))}}}"
    if isinstance(value, list | tuple):
        return f"{kind.__name__}[{','.join(map(stable_text, value))}]"
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, _PLAIN):
        return f"{kind.__module__}.{kind.__qualname__}({value!r})"
    if "_sa_instance_state" in getattr(value, "__dict__", ()):
        raise TypeError(f"a {kind.__qualname__} object; pass its primary key")
    raise TypeError(
        f"a {kind.__module__}.{kind.__qualname__} has no stable text; "
        f"pass plain values, or give cached() a key="
    )
