"""The values of labels, which are few whatever clients ask for."""

from __future__ import annotations

from flask_perfkit.recording.methods import METHODS, OTHER_METHOD

UNMATCHED, OTHER = "unmatched", "_OTHER"

_MOST_PREFIXES = 20
_MOST_ROUTES = 2_000
_MOST_BLOCKS = 200
_LONGEST_PREFIX = 100
_LONGEST = 200


class Labels:
    """Names methods and routes, and knows how many there were."""

    def __init__(self) -> None:
        self._prefixes: set[str] = set()
        self._routes: set[str] = set()
        self._blocks: set[str] = set()

    def of_block(self, name: str) -> str:
        """Return the label of a block that was measured; its name may hold a number of its own."""
        name = name[:_LONGEST]
        if name not in self._blocks:
            if len(self._blocks) >= _MOST_BLOCKS:
                return OTHER
            self._blocks.add(name)
        return name

    def of(self, method: str, prefix: str, rule: str | None) -> tuple[str, str, bool]:
        """Return the labels of a request, with whether its sort is worth remembering.

        A prefix may come from a header, so that it is no more to be trusted than a path.
        """
        known = method in METHODS
        if not known:
            method = OTHER_METHOD
        if rule is None:
            return method, UNMATCHED, known and not prefix
        route = prefix + rule
        if prefix and prefix not in self._prefixes:
            if len(self._prefixes) >= _MOST_PREFIXES or len(prefix) > _LONGEST_PREFIX:
                route, known = OTHER, False
            else:
                self._prefixes.add(prefix)
        route = route[:_LONGEST]
        if route not in self._routes and route != OTHER:
            if len(self._routes) >= _MOST_ROUTES:
                return method, OTHER, False
            self._routes.add(route)
        return method, route, known
