"""@paginated: a view that returns a query answers with one page of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from types import EllipsisType
from typing import TYPE_CHECKING, Any, TypedDict, cast

from flask import Response, current_app, request
from sqlalchemy import CompoundSelect, Select
from sqlalchemy.orm import Query

from flask_perfkit.pagination.http.filters import Filter, narrow, read_filters
from flask_perfkit.pagination.http.links import link_header
from flask_perfkit.pagination.http.params import chosen_params
from flask_perfkit.pagination.http.schemas import (
    cursor_page_schema,
    dumped_names,
    load_parameters,
    page_schema,
    params_schema,
)
from flask_perfkit.pagination.order.terms import sort_terms
from flask_perfkit.pagination.pages import CursorPage, Page
from flask_perfkit.pagination.paging import cut, require_default_sort, require_total
from flask_perfkit.pagination.statement.statement import read_query

if TYPE_CHECKING:
    from flask_perfkit.pagination.app import AnySession
    from flask_perfkit.pagination.http.filters import Filters
    from flask_perfkit.pagination.http.schemas import AnySchema
    from flask_perfkit.pagination.order.terms import Sortable
    from flask_perfkit.pagination.statement.totals import Total

    View = Callable[..., Any]

    class PageOptions(TypedDict, total=False):
        """The options of :func:`paginated`, for those who pass them on."""

        sortable: Sortable | None
        default_sort: str | None
        filters: Filters | None
        total: Total | EllipsisType
        session: AnySession | None


def paginated(
    schema: AnySchema,
    *,
    sortable: Sortable | None = None,
    default_sort: str | None = None,
    filters: Filters | None = None,
    total: Total | EllipsisType = ...,
    session: AnySession | None = None,
) -> Callable[[View], View]:
    """Answer with one page of the query that the view returns.

    The view, plain or async, runs once the request's parameters are known to
    be good. What it returns instead of a query, such as a redirect, is left
    alone. The other parameters are those of :func:`paginate`.

    :param schema: the marshmallow schema of one item.
    :param filters: query parameters that narrow the list, each a column, or
        a column and an operator: ``{"since": (Document.uploaded_at, "ge")}``.
    :raises ValueError: ``default_sort``, ``total`` or a filter's operator is unknown.
    :raises TypeError: a filter's column has a type that no text can be read as.
    """
    sortable = sortable or {}
    require_total(total)
    require_default_sort(default_sort, sortable)
    narrowing = read_filters(filters or {})
    parameters = params_schema(sortable, {name: item.field for name, item in narrowing.items()})
    dumped = dumped_names(schema)

    def decorate(view: View) -> View:
        @wraps(view)
        def paginated_view(*args: Any, **kwargs: Any) -> Any:
            values = load_parameters(parameters(), request.args)
            params = chosen_params(values)
            query = current_app.ensure_sync(view)(*args, **kwargs)
            if not isinstance(query, Select | CompoundSelect | Query):
                return query
            statement, used_session = read_query(query, session)
            statement = _narrowed(statement, narrowing, values)
            sort = params.sort or default_sort
            terms = sort_terms(sort, sortable) if sort else []
            page = cut(statement, params, terms, total, used_session, dumped)
            envelope = page_schema if isinstance(page, Page) else cursor_page_schema
            return _answer(page, envelope(schema)().dump(page))

        paginated_view.filters = narrowing  # type: ignore[attr-defined]
        return paginated_view

    return decorate


def _narrowed(statement: Any, filters: Mapping[str, Filter], values: Mapping[str, Any]) -> Any:
    if not filters:
        return statement
    if isinstance(statement, CompoundSelect):
        raise TypeError("filters need a select: put the UNION into a subquery and select from it")
    return narrow(statement, filters, values)


def _answer(page: Page | CursorPage, body: Any) -> Response:
    response = cast(Response, current_app.json.response(body))
    link = link_header(page)
    if link is not None:
        response.headers["Link"] = link
    return response
