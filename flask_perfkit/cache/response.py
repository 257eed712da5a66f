"""``@cached_response``: a view's whole answer, with ETag, 304 and Cache-Control."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, TypedDict

from flask import Response, current_app, make_response, request
from flask import globals as globals_of_flask

from flask_perfkit.cache.entries.keys import digest
from flask_perfkit.cache.options import CacheLike, DependsOn, checked_ttl
from flask_perfkit.cache.process.log import warn
from flask_perfkit.cache.writes.following import follow

Vary = Iterable[str | Callable[[], object]]

if TYPE_CHECKING:

    class ResponseOptions(TypedDict, total=False):
        """The options of :func:`cached_response`, for those who pass them on."""

        ttl: float | None
        depends_on: DependsOn
        vary: Vary
        max_age: int
        near: bool | None
        stale: float


_NOT_KEPT = frozenset({"content-length", "date", "set-cookie", "connection", "keep-alive"})


class _NotStored(Exception):
    """Carries an answer past the cache, which must not keep it."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


def cached_response(
    find_cache: Callable[[], CacheLike],
    view: Callable[..., Any] | None = None,
    *,
    ttl: float | None = None,
    depends_on: DependsOn = None,
    vary: Vary = (),
    max_age: int = 0,
    near: bool | None = None,
    stale: float = 0.0,
) -> Any:
    """Keep the answers of a view, one for each URL, method and value of what they vary by.

    Kept are answers to GET and HEAD with status 200 that set no cookie, are not streamed and
    not marked ``private`` or ``no-store``. Not kept either, as other users could get them:
    answers to requests with ``Authorization``, and of views that touched the session, unless
    ``vary`` takes that into account. Goes below the route.

    :param vary: names of request headers, and functions whose result tells answers apart
        (``lambda: current_user.get_id()``).
    :param max_age: seconds for which a browser may use its copy without asking. With 0 it asks
        each time and gets a 304 if nothing has changed.
    """
    options: dict[str, Any] = {"ttl": checked_ttl(ttl), "near": near, "stale": stale}
    told_apart = _Variants(tuple(vary))
    follow()

    def decorate(view: Callable[..., Any]) -> Callable[..., Any]:
        name = f"{view.__module__}.{view.__qualname__}"

        @wraps(view)
        def answer(*args: Any, **kwargs: Any) -> Any:
            if not told_apart.allow_keeping():
                return current_app.ensure_sync(view)(*args, **kwargs)

            def create() -> dict[str, Any]:
                response = make_response(current_app.ensure_sync(view)(*args, **kwargs))
                if not _may_keep(response) or not told_apart.cover_session(name):
                    raise _NotStored(response)
                return _kept(response, told_apart.cache_control(max_age))

            needs = depends_on(*args, **kwargs) if callable(depends_on) else depends_on
            key = f"{name}:{told_apart.digest()}"
            try:
                kept = find_cache().get_or_create(
                    key, create, depends_on=needs, name=name, **options
                )
            except _NotStored as passed:
                return passed.response
            return _response(kept, told_apart.headers)

        return answer

    return decorate if view is None else decorate(view)


class _Variants:
    """What tells answers to one URL apart: request headers and functions."""

    def __init__(self, vary: tuple[str | Callable[[], object], ...]) -> None:
        self.headers = tuple(item for item in vary if isinstance(item, str))
        self._functions = tuple(item for item in vary if callable(item))
        self._names = {header.lower() for header in self.headers}
        self._is_private = bool(self._functions) or "cookie" in self._names
        self._warned = False
        if len(self.headers) + len(self._functions) != len(vary):
            raise TypeError(f"vary is {vary!r}; allowed are header names and functions")

    def allow_keeping(self) -> bool:
        """Say whether an answer to this request may be kept at all."""
        if request.method not in ("GET", "HEAD"):
            return False
        return (
            "Authorization" not in request.headers
            or "authorization" in self._names
            or bool(self._functions)
        )

    def cover_session(self, name: str) -> bool:
        """Say whether the session told nothing that these variants do not."""
        if self._is_private or not _session_was_accessed():
            return True
        if not self._warned:
            self._warned = True
            warn(
                "%s is not cached: it reads the session, so its answer may be one user's; tell "
                "users apart with vary=[...]",
                name,
            )
        return False

    def digest(self) -> str:
        """Hash the URL and all that tells answers apart."""
        parts = [
            request.method,
            request.host_url,
            request.path,
            *sorted(f"{key}={value}" for key, value in request.args.items(multi=True)),
            *(f"{header}:{request.headers.get(header, '')}" for header in self.headers),
            *(repr(function()) for function in self._functions),
        ]
        return digest("\n".join(map(repr, parts)))

    def cache_control(self, max_age: int) -> str:
        """Tell browsers, and proxies between, what they may do."""
        age = f"max-age={max_age}" if max_age else "no-cache"
        return f"private, {age}" if self._is_private else age


def _session_was_accessed() -> bool:
    """Ask without asking ``flask.session``, which counts as an access since Flask 3.1.3."""
    for name in ("app_ctx", "request_ctx"):  # the one that has it differs by Flask's release
        found = vars(getattr(globals_of_flask, name)._get_current_object())
        session = found.get("_session", found.get("session"))
        if session is not None:
            return bool(session.accessed)
    return False


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


def _response(kept: Mapping[str, Any], vary: tuple[str, ...]) -> Response:
    response: Response = current_app.response_class(kept["body"], headers=kept["headers"])
    response.vary.update(vary)
    response.make_conditional(request)
    return response
