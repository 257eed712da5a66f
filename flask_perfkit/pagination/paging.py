"""paginate(): one page of a query."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from flask_perfkit.pagination.offset import offset_page
from flask_perfkit.pagination.order import sort_errors, sort_terms
from flask_perfkit.pagination.rows import Source
from flask_perfkit.pagination.statement import bind_of, read_query
from flask_perfkit.pagination.totals import Total

if TYPE_CHECKING:
    from flask_perfkit.pagination.app import AnySession
    from flask_perfkit.pagination.order import Sortable, Term
    from flask_perfkit.pagination.pages import Page
    from flask_perfkit.pagination.params import PaginationParams
    from flask_perfkit.pagination.statement import Pageable


def paginate(
    query: Pageable,
    params: PaginationParams,
    *,
    sortable: Sortable | None = None,
    default_sort: str | None = None,
    total: Total = "exact",
    session: AnySession | None = None,
) -> Page:
    """Return one page of a query.

    A page holds the rows that the statement returns, in the order of
    ``params.sort``, else ``default_sort``, else the statement's own; the
    primary key breaks ties. Entities come as such where the query selects one
    entity, rows otherwise.

    :param query: a ``select()``, ORM or Core, a union of some, or a legacy ``Query``.
    :param sortable: the names that ``sort`` may use, and the columns that they mean.
    :param total: ``"exact"`` counts the statement's rows; None leaves the total out.
    :param session: a legacy ``Query`` brings its own; Flask-SQLAlchemy's unless set.
    :raises ParameterError: ``params.sort`` uses another name; answered as a 400.
    """
    require_total(total)
    sortable = sortable or {}
    require_default_sort(default_sort, sortable)
    statement, session = read_query(query, session)
    source = Source(session, bind_of(session, statement))
    sort = params.sort or default_sort
    terms: list[Term] = sort_terms(sort, sortable) if sort else []
    return offset_page(source, statement, terms, params, total)


def require_total(total: Total) -> None:
    """Refuse an unknown way of counting with a ValueError."""
    if total not in get_args(Total):
        allowed = ", ".join(map(repr, get_args(Total)))
        raise ValueError(f"total={total!r} is unknown; allowed are {allowed}")


def require_default_sort(default_sort: str | None, sortable: Sortable) -> None:
    """Refuse a default that clients could not ask for themselves with a ValueError."""
    messages = sort_errors(default_sort, sortable) if default_sort else []
    if messages:
        raise ValueError(f"default_sort={default_sort!r}: {messages[0]}")
