"""Pages by their number: LIMIT and OFFSET."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask_perfkit.pagination.layout import lay_out
from flask_perfkit.pagination.pages import Page
from flask_perfkit.pagination.rows import fetch
from flask_perfkit.pagination.totals import count_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flask_perfkit.pagination.order import Term
    from flask_perfkit.pagination.params import PaginationParams
    from flask_perfkit.pagination.rows import Source
    from flask_perfkit.pagination.statement import AnySelect
    from flask_perfkit.pagination.totals import Total

_LARGEST_OFFSET = 2**62  # databases take 64 bits with a sign; this leaves room for the LIMIT


def offset_page(
    source: Source,
    statement: AnySelect,
    terms: Sequence[Term],
    params: PaginationParams,
    total: Total,
) -> Page:
    """Return the page of that number; beyond the last one it holds no items."""
    offset = (params.page - 1) * params.page_size
    items = _items(source, statement, terms, offset, params.page_size + 1)
    has_next = len(items) > params.page_size
    del items[params.page_size :]
    if not has_next and (items or offset == 0) and total == "exact":
        count: int | None = offset + len(items)
    else:
        count = count_rows(source, statement, total)
    return Page(items, count, params.page, params.page_size, has_next)


def _items(
    source: Source, statement: AnySelect, terms: Sequence[Term], offset: int, limit: int
) -> list[Any]:
    if offset > _LARGEST_OFFSET:
        return []
    laid = lay_out(statement, terms, source.bind.dialect.name, for_cursor=False)
    page = laid.statement.order_by(*laid.layout.order_by).limit(limit).offset(offset)
    return fetch(source, page, laid.layout.identity_columns).items
