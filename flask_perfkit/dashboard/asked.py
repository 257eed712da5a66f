"""What was asked of a page: all of it stands in its address, so that each view can be linked to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from flask_perfkit.store.reading import Period

if TYPE_CHECKING:
    from flask import Request

RANGES: dict[str, float] = {
    "15m": 900,
    "1h": 3_600,
    "6h": 21_600,
    "24h": 86_400,
    "7d": 604_800,
    "30d": 2_592_000,
}
"""The ranges of time to choose from, in seconds up to now."""

REFRESHES = ("5", "30")
"""Seconds after which a page may be asked to show itself anew."""

PAGE_SIZE = 50

_DEFAULT_RANGE = "1h"
_LONGEST = 500
_MOST_PAGES = 10_000
_KEPT = ("since", "refresh")
_KNOWN = (
    *(*_KEPT, "q", "sort", "page", "kind", "method", "name"),
    *("status", "slower", "found", "severity", "state", "format"),
)


@dataclass(frozen=True)
class Asked:
    """The address of a page of the dashboard, understood.

    ``root`` is where the dashboard is, as the browser sees it; ``path`` is the page below it.
    ``values`` are the parameters of the query that a page may look at.
    """

    root: str
    path: str
    values: Mapping[str, str]
    wants_json: bool = False

    @classmethod
    def of(cls, request: Request, root: str) -> Asked:
        """Read a request; what is not known or not allowed is passed over."""
        given = request.args
        values = {key: given[key][:_LONGEST] for key in _KNOWN if given.get(key)}
        if values.get("since") not in RANGES:
            values.pop("since", None)
        if values.get("refresh") not in REFRESHES:
            values.pop("refresh", None)
        path = request.path.removeprefix(root).rstrip("/")
        return cls(request.script_root + root, path, values, given.get("format") == "json")

    @property
    def range(self) -> str:
        """The name of the range of time."""
        return self.values.get("since", _DEFAULT_RANGE)

    @property
    def period(self) -> Period:
        """The range of time, up to now."""
        return Period.last(RANGES[self.range])

    @property
    def search(self) -> str:
        """The text that is looked for."""
        return self.values.get("q", "").strip()

    @property
    def page(self) -> int:
        """The number of the page of a long list, from 1 on."""
        text = self.values.get("page", "1")
        return min(max(int(text), 1), _MOST_PAGES) if text.isdecimal() and len(text) < 9 else 1

    @property
    def offset(self) -> int:
        """How many entries of a long list come before this page of it."""
        return (self.page - 1) * PAGE_SIZE

    def get(self, key: str, default: str = "") -> str:
        """Return a parameter of the query."""
        return self.values.get(key, default)

    def link(self, path: str, **values: str) -> str:
        """Return the address of a page, in the same range of time."""
        kept = {key: self.values[key] for key in _KEPT if key in self.values}
        return self._address(path, {**kept, **values})

    def here(self, **changes: str | None) -> str:
        """Return the address of this page with other parameters; None takes one away."""
        return self._address(self.path, {**self.values, "page": None, **changes})

    def _address(self, path: str, values: Mapping[str, str | None]) -> str:
        query = urlencode({key: value for key, value in values.items() if value})
        address = quote(self.root + path, safe="/%:@!$&'()*+,;=~") or "/"
        return f"{address}?{query}" if query else address
