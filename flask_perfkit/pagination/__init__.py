"""Pages of a query: by their number or by a cursor, with marshmallow envelopes and clear errors."""

from flask_perfkit.pagination.decorator import paginated
from flask_perfkit.pagination.http.openapi import openapi_operation
from flask_perfkit.pagination.http.params import CursorParams, PaginationParams
from flask_perfkit.pagination.http.schemas import (
    CursorParamsSchema,
    PaginationParamsSchema,
    cursor_page_schema,
    page_schema,
    params_schema,
)
from flask_perfkit.pagination.pages import CursorPage, Page
from flask_perfkit.pagination.paging import paginate

__all__ = [
    "CursorPage",
    "CursorParams",
    "CursorParamsSchema",
    "Page",
    "PaginationParams",
    "PaginationParamsSchema",
    "cursor_page_schema",
    "openapi_operation",
    "page_schema",
    "paginate",
    "paginated",
    "params_schema",
]
