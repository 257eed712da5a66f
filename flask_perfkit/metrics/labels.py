"""Label values that no request can add to."""

from __future__ import annotations

UNMATCHED, OTHER = "unmatched", "_OTHER"

_METHODS = {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"}
_MOST_PREFIXES = 20
_MOST_ROUTES = 2_000
_LONGEST_PREFIX = 100
_LONGEST = 200


class Labels:
    """Names methods and routes, and knows how many there were."""

    def __init__(self) -> None:
        self._prefixes: set[str] = set()
        self._routes: set[str] = set()

    def of(self, method: str, prefix: str, rule: str | None) -> tuple[str, str, bool]:
        """Return the labels of a request, with whether its sort is worth remembering.

        A prefix may come from a header, so that it is no more to be trusted than a path.
        """
        known = method in _METHODS
        if not known:
            method = OTHER
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
