"""paginate(): one page of a query."""

from __future__ import annotations

from types import EllipsisType
from typing import TYPE_CHECKING, overload

from flask_perfkit.pagination.http.params import CursorParams, PaginationParams
from flask_perfkit.pagination.http.shown import read_shows
from flask_perfkit.pagination.keyset import keyset_page
from flask_perfkit.pagination.offset import offset_page
from flask_perfkit.pagination.order.sortable import (
    ordered,
    read_sort_column,
    require_default_sort,
    require_names,
    sort_keys,
)
from flask_perfkit.pagination.statement.estimate import require_planner
from flask_perfkit.pagination.statement.rows import Source
from flask_perfkit.pagination.statement.statement import bind_of, read_query
from flask_perfkit.pagination.statement.totals import WAYS_TO_COUNT, Total

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.orm import Session

    from flask_perfkit.pagination.app import AnySession
    from flask_perfkit.pagination.http.shown import Shows
    from flask_perfkit.pagination.order.sortable import Sortable, SortKey
    from flask_perfkit.pagination.pages import CursorPage, Page
    from flask_perfkit.pagination.statement.statement import AnySelect, Pageable
    from flask_perfkit.pagination.statement.visibility import Shown


@overload
def paginate(
    query: Pageable,
    params: PaginationParams,
    *,
    sortable: Sortable | None = None,
    default_sort: str | None = None,
    shows: Shows | None = None,
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
    shows: Shows | None = None,
    total: Total | EllipsisType = ...,
    session: AnySession | None = None,
) -> CursorPage: ...


def paginate(
    query: Pageable,
    params: PaginationParams | CursorParams,
    *,
    sortable: Sortable | None = None,
    default_sort: str | None = None,
    shows: Shows | None = None,
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
        planner; a whole number counts no further than that; None, what cursor pages have unless
        set, leaves the total out.
    :param shows: what the view shows of an item: its marshmallow schema, or the names of the
        attributes that it shows as they are. A cursor over other values is sealed, and so is
        every cursor where this is left out.
    :param session: a legacy ``Query`` brings its own; Flask-SQLAlchemy's unless set.
    :raises ParameterError: ``params.sort`` uses another name, or the cursor is
        of no use here; answered as a 400.
    :raises ExtraMissing: a cursor would carry a sort value that items do not
        show, and the extra ``sealed`` is not installed.
    """
    require_total(total)
    if not isinstance(params, PaginationParams | CursorParams):
        raise TypeError(
            f"params={params!r:.80}: must be PaginationParams or CursorParams, such as "
            "PaginationParams(page=1)"
        )
    names: Sortable = {} if sortable is None else sortable
    require_names(names)
    require_default_sort(default_sort, names)
    statement, used_session = read_query(query, session)
    sort = params.sort or default_sort
    keys = sort_keys(sort, names, lambda name: read_sort_column(name, names[name])) if sort else []
    return cut(statement, params, keys, total, used_session, read_shows(shows))


def cut(
    statement: AnySelect,
    params: PaginationParams | CursorParams,
    keys: Sequence[SortKey],
    total: Total | EllipsisType,
    session: Session,
    shown: Shown,
) -> Page | CursorPage:
    """Cut a page out of a statement.

    :param shown: what the response shows of an item.
    """
    source = Source(session, bind_of(session, statement))
    if total == "estimated":
        require_planner(source.bind.dialect.name)
    counted: Total = "exact" if isinstance(params, PaginationParams) else None
    if not isinstance(total, EllipsisType):
        counted = total
    rows = ordered(statement, keys)
    if isinstance(params, PaginationParams):
        return offset_page(source, statement, rows, params, counted)
    return keyset_page(source, statement, rows, params, counted, shown)


def require_total(total: Total | EllipsisType) -> None:
    """Refuse an unknown way of counting with a ValueError."""
    is_cap = isinstance(total, int) and not isinstance(total, bool) and total > 0
    if not (total is ... or is_cap or total in WAYS_TO_COUNT):
        allowed = ", ".join(map(repr, WAYS_TO_COUNT))
        raise ValueError(
            f"total={total!r} is unknown; allowed are {allowed}, and a whole number above 0 to "
            "count no further"
        )
