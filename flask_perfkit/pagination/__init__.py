"""Pages of a query: by their number, with marshmallow envelopes and clear errors."""

from flask_perfkit.pagination.decorator import paginated
from flask_perfkit.pagination.pages import Page
from flask_perfkit.pagination.paging import paginate
from flask_perfkit.pagination.params import PaginationParams
from flask_perfkit.pagination.schemas import PaginationParamsSchema, page_schema, params_schema

__all__ = [
    "Page",
    "PaginationParams",
    "PaginationParamsSchema",
    "page_schema",
    "paginate",
    "paginated",
    "params_schema",
]
