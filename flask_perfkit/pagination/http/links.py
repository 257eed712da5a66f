"""The Link header (RFC 8288): where the neighbours of a page are."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from flask import request

from flask_perfkit.pagination.pages import Page

if TYPE_CHECKING:
    from flask_perfkit.pagination.pages import CursorPage

# Many proxies and clients refuse a response with longer headers.
_LONGEST_HEADER = 8_000


def link_header(
    page: Page | CursorPage, names: Mapping[str, str], left_out: Collection[str]
) -> str | None:
    """Return the header of a page of the current request; None where it is the only one.

    The links have no host: a proxy may have changed it, and a client can forge it.

    :param names: of query parameters, by what they are called without it.
    :param left_out: parameters that lead to this page only.
    """
    if not page.has_next and not page.has_previous:
        return None
    targets = _numbers(page) if isinstance(page, Page) else _cursors(page)
    urls = {
        rel: _url({names.get(name, name): value for name, value in target.items()}, left_out)
        for rel, target in targets.items()
    }
    header = ", ".join(f'<{url}>; rel="{rel}"' for rel, url in urls.items())
    return header if len(header) <= _LONGEST_HEADER else None


def _numbers(page: Page) -> dict[str, dict[str, Any]]:
    numbers = {"first": 1}
    if page.has_previous:
        numbers["prev"] = page.page - 1
    if page.has_next:
        numbers["next"] = page.page + 1
    if page.total_pages:
        numbers["last"] = page.total_pages
    return {rel: {"page": number} for rel, number in numbers.items()}


def _cursors(page: CursorPage) -> dict[str, dict[str, Any]]:
    cursors = {"first": "", "prev": page.previous_cursor, "next": page.next_cursor}
    return {rel: {"cursor": cursor} for rel, cursor in cursors.items() if cursor is not None}


def _url(changes: Mapping[str, Any], left_out: Collection[str]) -> str:
    path = (request.root_path + request.path).lstrip("/")
    kept = request.args.to_dict(flat=False).items()
    arguments = {**{name: value for name, value in kept if name not in left_out}, **changes}
    return f"/{quote(path)}?{urlencode(arguments, doseq=True)}"
