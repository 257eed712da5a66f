"""What OpenAPI says of a list, for the frameworks that ask the view function itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from marshmallow import Schema, fields

if TYPE_CHECKING:
    from collections.abc import Sequence

_ATTRIBUTE = "_perfkit_operation"


class ProblemSchema(Schema):
    """The answer to a bad query parameter (RFC 9457)."""

    type = fields.String(required=True)
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    detail = fields.String(required=True)
    errors = fields.Dict(
        keys=fields.String(),
        values=fields.List(fields.String()),
        metadata={"description": "By parameter."},
    )


def describe(
    view: Callable[..., Any], parameters: type[Schema], pages: Sequence[type[Schema]]
) -> None:
    """Leave on a view what flask-smorest, APIFlask and :func:`openapi_operation` look for.

    :param pages: the schemas of the answers; empty where they have an envelope of their own.
    """
    responses: dict[int, Any] = {
        400: {
            "description": "A query parameter is invalid.",
            "content": {"application/problem+json": {"schema": ProblemSchema}},
        }
    }
    described: Any = view
    arguments = {"in": "query", "schema": parameters}
    described._apidoc = {"arguments": {"parameters": [arguments], "responses": {**responses}}}
    if pages:
        content = {"application/json": {"schema": {"oneOf": list(pages)}}}
        responses[200] = {"description": "A page of the list.", "content": content}
    described._spec = {"args": [(parameters(), "query")], "responses": responses}
    setattr(view, _ATTRIBUTE, {"parameters": [arguments], "responses": responses})


def openapi_operation(view: Callable[..., Any]) -> dict[str, Any]:
    """Return what OpenAPI says of a view under ``@paginated``, for apispec.

    ``spec.path("/documents", operations={"get": openapi_operation(list_documents)})``

    :raises TypeError: the view is not under ``@paginated``.
    """
    if not hasattr(view, _ATTRIBUTE):
        raise TypeError(f"{view!r:.80} is no view under @paginated: nothing is known of its pages")
    operation: dict[str, Any] = getattr(view, _ATTRIBUTE)
    return {
        "parameters": [dict(parameter) for parameter in operation["parameters"]],
        "responses": dict(operation["responses"]),
    }
