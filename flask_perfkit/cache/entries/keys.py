"""Keys of cached calls: the function's name, then a hash of its arguments and variables."""

from __future__ import annotations

import inspect
import uuid
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from flask_perfkit.cache.entries.identity import FunctionIdentity
from flask_perfkit.cache.entries.texts import digest, joined, stable_text

_REMEMBERED_TYPES = frozenset({str, int, bool, bytes, uuid.UUID, date, type(None)})
"""Types whose equal values are the same; not so of floats (0.0 and -0.0) or decimals."""

_MOST_REMEMBERED = 2048
_LONGEST_REMEMBERED = 200


class CallKeys:
    """The keys of one function's calls: ``package.module.function:9f2c41d0…``.

    Arguments count by value and type, defaults included, however they are passed; beside them
    what the function closes over, as :class:`FunctionIdentity` tells it.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._identity = FunctionIdentity(function)
        self.name = self._identity.name
        self._signature = inspect.signature(function)
        self._remembered: dict[Any, str] = {}

    def key(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        """Return the key of a call.

        :raises TypeError: an argument has no stable text, such as an ORM object.
        """
        around = self._identity.variables()
        if not all(map(_is_small, (*args, *kwargs.values()))):
            return self._make(around, args, kwargs)
        call = (around, args, *map(type, args), *kwargs.items(), *map(type, kwargs.values()))
        known = self._remembered.get(call)
        if known is None:
            known = self._make(around, args, kwargs)
            if len(self._remembered) >= _MOST_REMEMBERED:
                self._remembered.clear()
            self._remembered[call] = known
        return known

    def own_key(self, text: str) -> str:
        """Return the key of a call whose arguments the user has put into a text."""
        around = self._identity.variables()
        return f"{self.name}:{digest(around) + ':' if around else ''}{text}"

    def _make(self, around: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        texts = [f"{name}={self._text(name, value)}" for name, value in bound.arguments.items()]
        if not texts and not around:
            return self.name
        return f"{self.name}:{digest(joined([self._identity.code, around, *texts]))}"

    def _text(self, name: str, value: Any) -> str:
        try:
            return stable_text(value)
        except TypeError as error:
            raise TypeError(
                f"argument {name!r} of {self.name.partition('#')[0]} cannot be part of a cache "
                f"key: {error}"
            ) from None


def _is_small(value: Any) -> bool:
    return type(value) in _REMEMBERED_TYPES and (
        not isinstance(value, str | bytes) or len(value) <= _LONGEST_REMEMBERED
    )
