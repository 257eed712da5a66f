"""Which tables a creator was seen to read, so that the next call fetches their tokens at once.

These are guesses only: an entry names its own tokens, and those that a creator needs are made
when it first reads a table.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from flask_perfkit.cache.entries.dependencies import NONE, Dependencies

_MOST_PLACES = 10_000
_MOST_NAMES = 30


class Learned:
    """The tables that the creators of one place were seen to read."""

    __slots__ = ("dependencies",)

    def __init__(self) -> None:
        self.dependencies = NONE

    def learn(self, names: tuple[str, ...]) -> None:
        """Add these tables, the newest first."""
        known = dict.fromkeys((*names, *self.dependencies.names))
        self.dependencies = Dependencies(tuple(known)[:_MOST_NAMES])


class LearnedByPlace:
    """What was learned in a cache, by the place in the code where creators are defined."""

    def __init__(self) -> None:
        self._places: OrderedDict[str, Learned] = OrderedDict()

    def at(self, name: str, creator: Callable[[], Any], key: str) -> Learned:
        """Return what was learned of a creator; one without code of its own goes by its key.

        :param name: tells those apart that one line defines, as in a decorator.
        """
        while hasattr(creator, "func"):  # functools.partial
            creator = creator.func
        code = getattr(creator, "__code__", None)
        place = key if code is None else f"{name}:{code.co_filename}:{code.co_firstlineno}"
        learned = self._places.get(place)
        if learned is None:
            learned = self._places[place] = Learned()
            if len(self._places) > _MOST_PLACES:
                self._places.popitem(last=False)
        return learned
