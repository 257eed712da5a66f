"""Plain data: one page of a query, by its number or by a cursor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any


@dataclass(frozen=True)
class Page:
    """One page of a query, by its number.

    :param items: entities where the query selects one entity, rows otherwise.
    :param total: how many items there are on all pages; None where nobody counted.
    :param page: the number of this page; the first one is 1.
    :param page_size: how many items a page holds at most.
    :param has_next: whether a page with items follows.
    :param total_is_capped: whether there are more than ``total``, which nobody counted.
    """

    items: list[Any]
    total: int | None
    page: int
    page_size: int
    has_next: bool
    total_is_capped: bool = False

    @property
    def total_pages(self) -> int | None:
        """How many pages there are; None where nobody counted all of them."""
        return (
            None if self.total is None or self.total_is_capped else -(-self.total // self.page_size)
        )

    @property
    def has_previous(self) -> bool:
        """Whether this is not the first page."""
        return self.page > 1


@dataclass(frozen=True)
class CursorPage:
    """One page of a query, by a cursor.

    :param items: entities where the query selects one entity, rows otherwise.
    :param page_size: how many items a page holds at most.
    :param next_cursor: leads to the page behind this one, if there is one.
    :param previous_cursor: leads to the page before this one, if there is one.
    :param total: how many items there are on all pages, where it was asked for.
    :param total_is_capped: whether there are more than ``total``, which nobody counted.
    :param write_end: writes :attr:`end_cursor`, once somebody asks for it.
    :param write_all: writes :attr:`cursors`, once somebody asks for them.
    """

    items: list[Any]
    page_size: int
    next_cursor: str | None
    previous_cursor: str | None
    total: int | None = None
    total_is_capped: bool = False
    write_end: Callable[[], str | None] = field(default=lambda: None, repr=False, compare=False)
    write_all: Callable[[], list[str]] = field(default=list, repr=False, compare=False)

    @cached_property
    def end_cursor(self) -> str | None:
        """Leads behind the last item, also where nothing is there yet: to ask again later.

        None where there is no item and was no cursor.
        """
        return self.write_end()

    @cached_property
    def cursors(self) -> list[str]:
        """For each item the cursor that leads behind it."""
        return self.write_all()

    @property
    def has_next(self) -> bool:
        """Whether this page gives a cursor to the next one."""
        return self.next_cursor is not None

    @property
    def has_previous(self) -> bool:
        """Whether this page gives a cursor to the previous one."""
        return self.previous_cursor is not None
