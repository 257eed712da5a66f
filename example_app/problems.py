"""Every error of the API as ``application/problem+json`` (RFC 9457)."""

from __future__ import annotations

from http.client import responses
from itertools import islice
from typing import Any

from flask import Flask, json
from marshmallow import ValidationError
from werkzeug.exceptions import HTTPException, UnprocessableEntity
from werkzeug.sansio.response import Response

PROBLEM = "application/problem+json"

_MOST_FIELDS = 20
_LONGEST_NAME = 100
"""What a client made up is said back in part only."""


def init_app(app: Flask) -> None:
    app.register_error_handler(HTTPException, _http_problem)
    app.register_error_handler(ValidationError, _validation_problem)


def _http_problem(error: HTTPException) -> Response:
    response = error.get_response()
    if response.status_code >= 400 and response.mimetype != PROBLEM:
        _fill(response, error.description)
    return response


def _validation_problem(error: ValidationError) -> Response:
    messages = islice(error.normalized_messages().items(), _MOST_FIELDS)
    errors = {str(field)[:_LONGEST_NAME]: texts for field, texts in messages}
    detail = "; ".join(f"{field}: {' '.join(texts)}" for field, texts in errors.items())
    response = UnprocessableEntity().get_response()
    _fill(response, detail, errors=errors)
    return response


def _fill(response: Any, detail: str | None, **more: Any) -> None:
    status = response.status_code
    title = responses.get(status, "Error")
    problem = {"type": "about:blank", "title": title, "status": status, "detail": detail or title}
    response.data = json.dumps(problem | more)
    response.content_type = PROBLEM
