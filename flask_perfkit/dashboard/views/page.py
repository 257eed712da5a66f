"""What a page is: plain data, and the template that shows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

SECTIONS = (
    ("", "Overview"),
    ("/requests", "Requests"),
    ("/statements", "Statements"),
    ("/findings", "Findings"),
    ("/cache", "Cache"),
    ("/indexes", "Indexes"),
    ("/system", "System"),
)
"""The pages that every page links to, by their paths."""


@dataclass(frozen=True)
class Page:
    """What one page shows; ``data`` is all there is to it, as its JSON has it.

    ``section`` is the path of the entry in :data:`SECTIONS` that it belongs to.
    """

    template: str
    title: str
    section: str
    data: Mapping[str, Any]
    has_range: bool = True
    status: int = 200


Show = Callable[..., Page]
"""Makes a page: given the desk, what was asked, and the variables of the rule."""


def missing(section: str, what: str, hint: str) -> Page:
    """Return the page that says that something is not there (any more)."""
    data = {"what": what, "hint": hint}
    return Page("missing.html", what, section, data, has_range=False, status=404)


def unreadable(why: str) -> Page:
    """Return the page that says that the store cannot be read."""
    data = {"what": "The store cannot be read", "hint": why}
    return Page("missing.html", "The store cannot be read", "", data, has_range=False, status=503)
