"""@paginated: a view that returns a query answers with one page of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from types import EllipsisType
from typing import TYPE_CHECKING, Any, TypedDict, cast

from flask import Response, current_app, request
from marshmallow import Schema
from sqlalchemy import CompoundSelect, Executable, FromClause, Result, ScalarResult, Select
from sqlalchemy.orm import Query

from flask_perfkit.errors import ParameterError
from flask_perfkit.given import check_decorated, is_called
from flask_perfkit.pagination.http.links import link_header
from flask_perfkit.pagination.http.listing import Listing
from flask_perfkit.pagination.http.openapi import describe
from flask_perfkit.pagination.http.schemas import cursor_page_schema, page_schema
from flask_perfkit.pagination.http.shown import read_shows
from flask_perfkit.pagination.pages import Page
from flask_perfkit.pagination.paging import cut, require_total
from flask_perfkit.pagination.statement.statement import read_query, require_session

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask_perfkit.pagination.app import AnySession
    from flask_perfkit.pagination.http.filters import Filters
    from flask_perfkit.pagination.http.schemas import AnySchema
    from flask_perfkit.pagination.order.sortable import Sortable
    from flask_perfkit.pagination.pages import CursorPage
    from flask_perfkit.pagination.statement.totals import Total

    View = Callable[..., Any]
    Envelope = Callable[[Page | CursorPage, list[Any]], Any]

    class PageOptions(TypedDict, total=False):
        """The options of :func:`paginated`, for those who pass them on."""

        sortable: Sortable | None
        default_sort: str | None
        filters: Filters | None
        total: Total | EllipsisType
        page_size: int | None
        max_page_size: int | None
        parameters: Mapping[str, str] | None
        around: bool
        envelope: Envelope | None
        session: AnySession | None


def paginated(
    schema: AnySchema,
    *,
    sortable: Sortable | None = None,
    default_sort: str | None = None,
    filters: Filters | None = None,
    total: Total | EllipsisType = ...,
    page_size: int | None = None,
    max_page_size: int | None = None,
    parameters: Mapping[str, str] | None = None,
    around: bool = False,
    envelope: Envelope | None = None,
    session: AnySession | None = None,
) -> Callable[[View], View]:
    """Answer with one page of the query that the view returns.

    The view, plain or async, runs once the request's parameters are known to
    be good. What it returns instead of a query, such as a redirect, is left
    alone. The other parameters are those of :func:`paginate`.

    :param schema: the marshmallow schema of one item.
    :param filters: query parameters that narrow the list, each a column, or
        a column and an operator: ``{"since": (Document.uploaded_at, "ge")}``.
    :param page_size: items a page unless the client asks; ``PERFKIT_PAGE_SIZE`` where None.
    :param max_page_size: the most it may ask for; ``PERFKIT_MAX_PAGE_SIZE`` where None.
    :param parameters: other names of query parameters: ``{"page_size": "per_page"}``.
    :param around: whether ``?around=`` with an item's primary key asks for the page round it.
    :param envelope: called with the page and its dumped items, returns the body; its cursors
        are sealed, because it may leave out what the schema shows.
    :raises ValueError: ``default_sort``, ``total``, a page size or a filter's operator is not
        among what is allowed.
    :raises TypeError: something declared is not what its name says, or a filter's column has a
        type that no text can be read as.
    """
    _require_schema(schema)
    require_total(total)
    require_session(session)
    if envelope is not None and not is_called(envelope):
        raise TypeError(f"envelope={envelope!r:.80}: must be a function of a page and its items")
    listing = Listing(
        {} if sortable is None else sortable,
        default_sort,
        {} if filters is None else filters,
        parameters or {},
        page_size,
        max_page_size,
        around=around,
    )
    left_out = [listing.names.get("around", "around")] if around else []
    is_capped = isinstance(total, int)
    pages = (page_schema(schema, capped=is_capped), cursor_page_schema(schema, capped=is_capped))
    shown = read_shows(schema if envelope is None else None)

    def answer(page: Page | CursorPage) -> Response:
        body = pages[0 if isinstance(page, Page) else 1]().dump(page)
        if envelope is not None:
            body = envelope(page, body["items"])
        response = cast(Response, current_app.json.response(body))
        link = link_header(page, listing.names, left_out)
        if link is not None:
            response.headers["Link"] = link
        return response

    def decorate(view: View) -> View:
        if not callable(view):
            raise TypeError(f"@paginated was put on {view!r:.80}: must be a view function")
        check_decorated(view, "paginated")

        @wraps(view)
        def paginated_view(*args: Any, **kwargs: Any) -> Any:
            try:
                asked = listing.read(request.args)
            except ParameterError as error:
                return _refusal(error)
            query = current_app.ensure_sync(view)(*args, **kwargs)
            if not isinstance(query, Select | CompoundSelect | Query):
                return _left_alone(query, view)
            statement, used_session = read_query(query, session)
            statement = listing.narrow(statement, asked)
            try:
                page = cut(statement, asked.params, asked.keys, total, used_session, shown)
            except ParameterError as error:
                return _refusal(listing.renamed(error))
            return answer(page)

        describe(paginated_view, listing.schema, pages if envelope is None else ())
        paginated_view.filters = listing.filters  # type: ignore[attr-defined]
        return paginated_view

    return decorate


def _refusal(error: ParameterError) -> Response:
    """Answer with the problem itself, unless the application handles such errors.

    Flask would answer just so; Flask-RESTX would put what is raised into an answer of its own.
    """
    if current_app._find_error_handler(error, request.blueprints) is not None:
        raise error
    return cast(Response, error.get_response())


def _require_schema(schema: Any) -> None:
    if isinstance(schema, Schema) or (isinstance(schema, type) and issubclass(schema, Schema)):
        return
    if callable(schema) and not isinstance(schema, type):
        raise TypeError(
            f"@paginated was put on {getattr(schema, '__name__', schema)!r:.80} without the schema "
            "of an item: write @perfkit.paginated(DocumentSchema)"
        )
    raise TypeError(
        f"@paginated was given {schema!r:.80}: its first argument is the marshmallow schema of an "
        "item, such as DocumentSchema"
    )


def _left_alone(answer: Any, view: View) -> Any:
    """Return an answer of the view's own; refuse rows with a TypeError."""
    parts = answer if isinstance(answer, tuple) else (answer,)
    for part in parts[:1]:
        if isinstance(part, list | type | Executable | FromClause | Query | Result | ScalarResult):
            raise TypeError(
                f"{view.__name__} returned a {type(part).__name__}, of which @paginated cannot cut "
                "a page: return the query itself, such as select(Document)"
            )
    return answer
