"""Read all pages of a query by their cursors, forward and backward."""

from __future__ import annotations

from typing import Any

from flask_perfkit.pagination import CursorPage, CursorParams, paginate

FAR_TOO_MANY = 1_000


def forward(query: Any, size: int = 3, sort: str | None = None, **options: Any) -> list[CursorPage]:
    """Follow ``next_cursor`` from the first page to the last."""
    pages: list[CursorPage] = []
    cursor: str | None = None
    while len(pages) < FAR_TOO_MANY:
        page = paginate(query, CursorParams(cursor, size, sort), **options)
        pages.append(page)
        assert page.has_previous == (len(pages) > 1)
        assert len(page.items) == size or not page.has_next
        if not page.has_next:
            return pages
        cursor = page.next_cursor
    raise AssertionError("the pages do not end")


def backward(
    last: CursorPage, query: Any, size: int, sort: str | None, **options: Any
) -> list[Any]:
    """Follow ``previous_cursor`` from the last page to the first; return the items in order."""
    items = list(last.items)
    cursor = last.previous_cursor
    for _ in range(FAR_TOO_MANY):
        if cursor is None:
            return items
        page = paginate(query, CursorParams(cursor, size, sort), **options)
        assert page.has_next
        assert len(page.items) == size or not page.has_previous
        items[:0] = page.items
        cursor = page.previous_cursor
    raise AssertionError("the pages do not end")


def walk(query: Any, size: int = 3, sort: str | None = None, **options: Any) -> list[Any]:
    """Return all items, the same whichever way they are read."""
    pages = forward(query, size, sort, **options)
    items = [item for page in pages for item in page.items]
    assert backward(pages[-1], query, size, sort, **options) == items
    return items
