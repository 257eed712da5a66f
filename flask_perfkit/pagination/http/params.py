"""What a client asks for: which page, how long, in which order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import request

from flask_perfkit.errors import ParameterError
from flask_perfkit.pagination.http.schemas import (
    CursorParamsSchema,
    PaginationParamsSchema,
    load_parameters,
)

_MOST_ITEMS = 2**31 - 2  # and one more: a LIMIT takes 32 bits with a sign


@dataclass(frozen=True)
class PaginationParams:
    """A page by its number.

    :param page: from 1 on; beyond the last page there are no items.
    :param page_size: items a page, from 1 on.
    :param sort: names from ``sortable`` by commas, ``-`` in front for descending.
    :raises ParameterError: a number is not a whole number from 1 on.
    """

    page: int = 1
    page_size: int = 20
    sort: str | None = None

    def __post_init__(self) -> None:
        _require_counts(page=self.page, page_size=self.page_size)
        _require_texts(sort=self.sort)

    @classmethod
    def from_request(cls) -> PaginationParams:
        """Read ``page``, ``page_size`` and ``sort`` from the current request.

        ``PERFKIT_PAGE_SIZE`` and ``PERFKIT_MAX_PAGE_SIZE`` are the default and the limit.

        :raises ParameterError: answered as a 400 that names every bad parameter.
        """
        return cls(**load_parameters(PaginationParamsSchema(), request.args))


@dataclass(frozen=True)
class CursorParams:
    """A page by a cursor.

    :param cursor: ``next_cursor`` or ``previous_cursor`` of another page; None
        or an empty text for the first page.
    :param page_size: items a page, from 1 on; it may change from page to page.
    :param sort: names from ``sortable`` by commas, ``-`` in front for
        descending; as it was for the page that gave the cursor.
    :param around: the primary key of an item, a tuple where it has several columns: the page
        that has the item in its middle, instead of the one that a cursor leads to.
    :raises ParameterError: ``page_size`` is not a whole number from 1 on.
    """

    cursor: str | None = None
    page_size: int = 20
    sort: str | None = None
    around: Any = None

    def __post_init__(self) -> None:
        _require_counts(page_size=self.page_size)
        _require_texts(cursor=self.cursor, sort=self.sort)
        if self.cursor and self.around is not None:
            raise ParameterError({"around": ["Not together with cursor."]})

    @classmethod
    def from_request(cls) -> CursorParams:
        """Read ``cursor``, ``page_size`` and ``sort`` from the current request.

        ``PERFKIT_PAGE_SIZE`` and ``PERFKIT_MAX_PAGE_SIZE`` are the default and the limit.

        :raises ParameterError: answered as a 400 that names every bad parameter.
        """
        return cls(**load_parameters(CursorParamsSchema(), request.args))


def chosen_params(values: dict[str, Any]) -> PaginationParams | CursorParams:
    """Return a page by its number, or by its cursor where there is one, were it empty."""
    page_size, sort = values["page_size"], values["sort"]
    if values.get("around") is not None:
        return CursorParams(values["cursor"], page_size, sort, values["around"])
    if values["cursor"] is None:
        return PaginationParams(values["page"], page_size, sort)
    return CursorParams(values["cursor"], page_size, sort)


def _require_texts(**texts: str | None) -> None:
    errors = {
        name: [f"Must be a text, not {str(text)[:40]!r}."]
        for name, text in texts.items()
        if text is not None and not isinstance(text, str)
    }
    if errors:
        raise ParameterError(errors)


def _require_counts(**numbers: int) -> None:
    errors = {
        name: [f"Must be a whole number from 1 on, not {str(number)[:40]!r}."]
        for name, number in numbers.items()
        if not isinstance(number, int) or isinstance(number, bool) or number < 1
    }
    if not errors and numbers["page_size"] > _MOST_ITEMS:
        errors["page_size"] = [f"Must be at most {_MOST_ITEMS}."]
    if errors:
        raise ParameterError(errors)
