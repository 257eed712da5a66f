"""paginate(): one page of a query."""

from __future__ import annotations

from types import EllipsisType
from typing import TYPE_CHECKING, get_args, overload

from flask_perfkit.pagination.http.params import PaginationParams
from flask_perfkit.pagination.keyset import keyset_page
from flask_perfkit.pagination.offset import offset_page
from flask_perfkit.pagination.order.terms import sort_errors, sort_terms
from flask_perfkit.pagination.statement.estimate import require_planner
from flask_perfkit.pagination.statement.rows import Source
from flask_perfkit.pagination.statement.statement import bind_of, read_query
from flask_perfkit.pagination.statement.totals import Total

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from flask_perfkit.pagination.app import AnySession
    from flask_perfkit.pagination.http.params import CursorParams
    from flask_perfkit.pagination.order.terms import Sortable, Term
    from flask_perfkit.pagination.pages import CursorPage, Page
    from flask_perfkit.pagination.statement.statement import AnySelect, Pageable


@overload
def paginate(
    query: Pageable,
    params: PaginationParams,
    *,
    sortable: Sortable | None = None,
    default_sort: str | None = None,
    total: Total | EllipsisType = ...,
    session: AnySession | None = None,
) -> Page: ...


@overload
def paginate(
    query: Pageable,
    params: CursorParams,
    *,
    sortable: Sortable | None = None,
    default_sort: str | None = None,
    total: Total | EllipsisType = ...,
    session: AnySession | None = None,
) -> CursorPage: ...


def paginate(
    query: Pageable,
    params: PaginationParams | CursorParams,
    *,
    sortable: Sortable | None = None,
    default_sort: str | None = None,
    total: Total | EllipsisType = ...,
    session: AnySession | None = None,
) -> Page | CursorPage:
    """Return one page of a query, by its number or by a cursor.

    A page holds the rows that the statement returns, in the order of
    ``params.sort``, else ``default_sort``, else the statement's own; the
    primary key breaks ties. Entities come as such where the query selects one
    entity, rows otherwise.

    :param query: a ``select()``, ORM or Core, a union of some, or a legacy ``Query``.
    :param params: :class:`PaginationParams` for a page by its number,
        :class:`CursorParams` for one by a cursor.
    :param sortable: the names that ``sort`` may use, and the columns that they mean.
    :param total: ``"exact"``, what pages by number have unless set, counts the
        statement's rows; ``"cached"`` keeps the count in PerfKit's cache for ``PERFKIT_COUNT_TTL``
        seconds, or until one of its tables changes; ``"estimated"`` asks PostgreSQL's
        planner; None, what cursor pages have unless set, leaves the total out.
    :param session: a legacy ``Query`` brings its own; Flask-SQLAlchemy's unless set.
    :raises ParameterError: ``params.sort`` uses another name, or the cursor is
        of no use here; answered as a 400.
    :raises ExtraMissing: a cursor would carry a sort value that items do not
        show, and the extra ``sealed`` is not installed.
    """
    require_total(total)
    sortable = sortable or {}
    require_default_sort(default_sort, sortable)
    statement, session = read_query(query, session)
    sort = params.sort or default_sort
    terms = sort_terms(sort, sortable) if sort else []
    return cut(statement, params, terms, total, session)


def cut(
    statement: AnySelect,
    params: PaginationParams | CursorParams,
    terms: Sequence[Term],
    total: Total | EllipsisType,
    session: AnySession,
    dumped: Collection[str] | None = None,
) -> Page | CursorPage:
    """Cut a page out of a statement.

    :param dumped: the names that the response shows of an item; None for all.
    """
    source = Source(session, bind_of(session, statement))
    if total == "estimated":
        require_planner(source.bind.dialect.name)
    if isinstance(params, PaginationParams):
        counted: Total = "exact" if isinstance(total, EllipsisType) else total
        return offset_page(source, statement, terms, params, counted)
    counted = None if isinstance(total, EllipsisType) else total
    return keyset_page(source, statement, terms, params, counted, dumped)


def require_total(total: Total | EllipsisType) -> None:
    """Refuse an unknown way of counting with a ValueError."""
    if total is not ... and total not in get_args(Total):
        allowed = ", ".join(map(repr, get_args(Total)))
        raise ValueError(f"total={total!r} is unknown; allowed are {allowed}")


def require_default_sort(default_sort: str | None, sortable: Sortable) -> None:
    """Refuse a default that clients could not ask for themselves with a ValueError."""
    messages = sort_errors(default_sort, sortable) if default_sort else []
    if messages:
        raise ValueError(f"default_sort={default_sort!r}: {messages[0]}")
