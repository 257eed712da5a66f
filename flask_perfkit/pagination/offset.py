"""Pages by their number: LIMIT and OFFSET."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask_perfkit.pagination.pages import Page
from flask_perfkit.pagination.statement.layout import lay_out
from flask_perfkit.pagination.statement.rows import Fetched
from flask_perfkit.pagination.statement.totals import Count, count_rows

if TYPE_CHECKING:
    from flask_perfkit.pagination.http.params import PaginationParams
    from flask_perfkit.pagination.order.sortable import Ordered
    from flask_perfkit.pagination.statement.rows import Source
    from flask_perfkit.pagination.statement.statement import AnySelect
    from flask_perfkit.pagination.statement.totals import Total

_LARGEST_OFFSET = 2**62  # databases take 64 bits with a sign; this leaves room for the LIMIT


def offset_page(
    source: Source,
    statement: AnySelect,
    ordered: Ordered,
    params: PaginationParams,
    total: Total,
) -> Page:
    """Return the page of that number; beyond the last one it holds no items."""
    offset = (params.page - 1) * params.page_size
    items, has_next = _items(source, ordered, offset, params.page_size)
    seen = offset + len(items) + has_next
    if total is not None and not has_next and (items or offset == 0):
        count = Count(seen)  # this is the last page
    else:
        count = count_rows(source, statement, total)
    if total == "estimated" and has_next:
        count = Count(max(count.number or 0, seen))
    return Page(items, count.number, params.page, params.page_size, has_next, count.is_capped)


def _items(source: Source, ordered: Ordered, offset: int, size: int) -> tuple[list[Any], bool]:
    if offset > _LARGEST_OFFSET:
        return [], False
    laid = lay_out(ordered, source.bind.dialect, for_cursor=False)
    layout = laid.layout
    page = laid.statement.order_by(*layout.order_by).limit(size + 1).offset(offset)
    rows = Fetched(source.execute(page.add_columns(*layout.added)), layout.items)
    return rows.items(size), len(rows) > size
