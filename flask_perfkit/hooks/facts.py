"""What Flask and the environ say of a request: its path, its view, how its answer was sent."""

from __future__ import annotations

from collections.abc import Sequence
from inspect import unwrap
from typing import TYPE_CHECKING, Any

from flask_perfkit.recording.answer import LARGE_ANSWER, Answer
from flask_perfkit.recording.callsite import is_application
from flask_perfkit.recording.profile import View

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment
    from flask import Flask, Request, Response

LONGEST_PATH = 200
"""Characters of a path that are kept."""

_COMPRESSIONS = ("gzip", "br", "zstd", "deflate")
_SIGNS_OF_PROXY = ("HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_VIA", "HTTP_X_REAL_IP")


def path_of(environ: WSGIEnvironment) -> str:
    """Return the path that was asked for, where Flask is not asked."""
    path = str(environ.get("PATH_INFO", ""))[:LONGEST_PATH]
    return "/" + path.encode("latin-1", "replace").decode("utf-8", "replace").lstrip("/")


def view_of(app: Flask, endpoint: str | None, method: str | None) -> View | None:
    """Find where the function lies that answers a request; None where it is a library's."""
    view: Any = app.view_functions.get(endpoint) if endpoint is not None else None
    if method is not None and hasattr(view, "view_class"):
        view = getattr(view.view_class, method.lower(), view.view_class.dispatch_request)
    code = getattr(unwrap(view), "__code__", None) if view is not None else None
    if code is None or not is_application(code.co_filename):
        return None
    return View(code.co_filename, code.co_firstlineno, code.co_name)


def answer_of(
    app: Flask, asked: Request, response: Response, environ: WSGIEnvironment, sent: int | None
) -> Answer | None:
    """Return how an answer was sent; None where it is so small that nobody minds.

    :param environ: as it came to the edge.
    :param sent: the bytes of its body, where they were counted.
    """
    is_static = _is_static(app, asked)
    if not is_static and response.is_sequence and _is_small(response):
        return None
    control, encodings = response.cache_control, asked.accept_encodings
    return Answer(
        mimetype=response.mimetype or "",
        length=response.content_length or sent,
        encoding=response.headers.get("Content-Encoding"),
        lasts=None if control.no_store or control.no_cache else control.max_age,
        is_static=is_static,
        takes_compression=any(encodings.quality(name) > 0 for name in _COMPRESSIONS),
        through_proxy=any(name in environ for name in _SIGNS_OF_PROXY),
    )


def _is_small(response: Response) -> bool:
    parts: Sequence[bytes] = response.response  # type: ignore[assignment]
    return sum(map(len, parts)) < LARGE_ANSWER


def _is_static(app: Flask, asked: Request) -> bool:
    """Tell whether a rule serves the static folder of the application or of a blueprint."""
    owner = app.blueprints.get(asked.blueprint or "", app)
    return (asked.endpoint or "").rpartition(".")[2] == "static" and owner.has_static_folder
