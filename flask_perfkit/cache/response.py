"""``@cached_response``: a view's whole answer, with ETag, 304 and Cache-Control."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, TypedDict

from flask import Response, current_app, make_response, request

from flask_perfkit.cache.entries.identity import FunctionIdentity
from flask_perfkit.cache.lookup.maker import NotKept
from flask_perfkit.cache.options import CacheLike, DependsOn, checked_options
from flask_perfkit.cache.reads.surroundings import SCHEMA, Surroundings
from flask_perfkit.cache.variants import Variants, Vary
from flask_perfkit.cache.writes.following import follow

if TYPE_CHECKING:

    class ResponseOptions(TypedDict, total=False):
        """The options of :func:`cached_response`, for those who pass them on."""

        ttl: float | None
        depends_on: DependsOn
        vary: Vary
        query: Iterable[str] | None
        max_age: int
        near: bool | None
        stale: float


_NOT_KEPT = frozenset({"content-length", "date", "set-cookie", "connection", "keep-alive"})


def cached_response(
    find_cache: Callable[[], CacheLike],
    view: Callable[..., Any] | None = None,
    *,
    ttl: float | None = None,
    depends_on: DependsOn = None,
    vary: Vary = (),
    query: Iterable[str] | None = None,
    max_age: int = 0,
    near: bool | None = None,
    stale: float = 0.0,
) -> Any:
    """Keep the answers of a view, one for each URL, method, body and value of what they vary by.

    Kept are answers to GET and HEAD with status 200 that set no cookie, are not streamed and
    not marked ``private`` or ``no-store``. Not kept either, as other users could get them:
    answers to requests with ``Authorization``, and of views that read the session, ``g`` or
    headers, unless ``vary`` takes that into account; and answers whose own ``Vary`` names what
    ``vary`` does not. Goes below the route.

    :param vary: names of request headers, and functions whose result tells answers apart
        (``lambda: current_user.get_id()``): plain data, or an object with ``get_id()``.
    :param query: names of the query parameters that count; left out, all do.
    :param max_age: seconds for which a browser may use its copy without asking. With 0 it asks
        each time and gets a 304 if nothing has changed.
    """
    options = checked_options(ttl, near, stale)
    if isinstance(vary, str):
        raise TypeError(f"vary is {vary!r:.100}; allowed is a list: [{vary!r:.100}]")
    variants = Variants(tuple(vary), query)
    follow()

    def decorate(view: Callable[..., Any]) -> Callable[..., Any]:
        identity = FunctionIdentity(view)
        name = identity.name

        @wraps(view)
        def answer(*args: Any, **kwargs: Any) -> Any:
            told = variants.digest(name, identity) if variants.allow_keeping() else None
            if told is None:
                return current_app.ensure_sync(view)(*args, **kwargs)
            cache = find_cache()

            def create() -> dict[str, Any]:
                around = Surroundings()
                with around.watch():
                    response = make_response(current_app.ensure_sync(view)(*args, **kwargs))
                if cache.namespaced:
                    around.others.discard(SCHEMA)
                if not _may_keep(response) or not variants.cover(name, around, response):
                    raise _Passed(response)
                return _kept(response, variants.cache_control(max_age))

            needs = depends_on(*args, **kwargs) if callable(depends_on) else depends_on
            try:
                kept = cache.get_or_create(
                    f"{name}:{told}",
                    create,
                    depends_on=needs,
                    name=name,
                    is_whole=_is_whole,
                    **options,
                )
            except _Passed as passed:
                return passed.response
            return _response(kept, variants.headers)

        return answer

    return decorate if view is None else decorate(view)


class _Passed(NotKept):
    """Carries an answer past the cache, which must not keep it."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response
        self.failed = response.status_code >= 500


def _may_keep(response: Response) -> bool:
    control = response.cache_control
    return (
        response.status_code == 200
        and not response.is_streamed
        and not response.direct_passthrough
        and "Set-Cookie" not in response.headers
        and not control.no_store
        and control.private is None
    )


def _kept(response: Response, cache_control: str) -> dict[str, Any]:
    body = response.get_data()
    response.headers.setdefault("Cache-Control", cache_control)
    if "ETag" not in response.headers:
        response.set_etag(blake2b(body, digest_size=16).hexdigest())
    headers = [
        [name, value] for name, value in response.headers.items() if name.lower() not in _NOT_KEPT
    ]
    try:
        return {"headers": headers, "body": body.decode()}
    except UnicodeDecodeError:
        return {"headers": headers, "body": body}


def _is_whole(kept: Any) -> bool:
    """Say whether an entry has the shape that :func:`_kept` makes, in this release."""
    return (
        isinstance(kept, dict)
        and kept.keys() == {"headers", "body"}
        and isinstance(kept["body"], str | bytes)
        and isinstance(kept["headers"], list)
        and all(
            isinstance(pair, list)
            and len(pair) == 2
            and all(isinstance(text, str) for text in pair)
            for pair in kept["headers"]
        )
    )


def _response(kept: Mapping[str, Any], vary: tuple[str, ...]) -> Response:
    response: Response = current_app.response_class(kept["body"], headers=kept["headers"])
    response.vary.update(vary)
    response.make_conditional(request)
    return response
