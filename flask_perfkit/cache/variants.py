"""What tells the answers of a view apart: the address, the body, headers, and functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from flask import Response, request
from werkzeug.local import LocalProxy

from flask_perfkit.cache.entries.identity import FunctionIdentity
from flask_perfkit.cache.entries.texts import digest, joined, stable_text
from flask_perfkit.cache.process.log import warn
from flask_perfkit.cache.reads.surroundings import SESSION, Surroundings, session_of

Vary = Iterable[str | Callable[[], object]]


class Variants:
    """What answers to one URL vary by: request headers and functions.

    :param query: the query parameters that count; None: all.
    """

    def __init__(
        self, vary: tuple[str | Callable[[], object], ...], query: Iterable[str] | None
    ) -> None:
        self.headers = tuple(item for item in vary if isinstance(item, str))
        self._functions = tuple(item for item in vary if callable(item))
        self._names = {header.lower() for header in self.headers}
        self._query = None if query is None else frozenset(query)
        self._is_private = bool(self._functions) or "cookie" in self._names
        self._said: set[str] = set()
        if len(self.headers) + len(self._functions) != len(vary):
            raise TypeError(f"vary is {vary!r}; allowed are header names and functions")
        if isinstance(query, str) or not all(isinstance(name, str) for name in self._query or ()):
            raise TypeError(f"query is {query!r}; allowed is a list of names of query parameters")

    def allow_keeping(self) -> bool:
        """Say whether an answer to this request may be kept at all."""
        if request.method not in ("GET", "HEAD"):
            return False
        return (
            "Authorization" not in request.headers
            or "authorization" in self._names
            or bool(self._functions)
        )

    def cover(self, name: str, around: Surroundings, response: Response) -> bool:
        """Say whether nothing but these variants, and the address, made the answer what it is."""
        read = {f"the header {header}" for header in around.headers - self._names}
        read |= around.others
        if _was_read(session_of()):
            read.add(SESSION)
        if "cookie" in self._names:
            read.discard(SESSION)
        if read and not self._functions:
            listed = ", ".join(sorted(read))
            self._say(
                name,
                f"it reads {listed}, so its answer may be one user's; tell users apart with "
                "vary=[...]",
            )
            return False
        unnamed = {header.lower() for header in response.vary} - self._names
        if unnamed:
            self._say(
                name,
                f"its answer varies by {', '.join(sorted(unnamed))}, which its key lacks; name "
                "that with vary=[...]",
            )
        return not unnamed

    def digest(self, name: str, identity: FunctionIdentity) -> str | None:
        """Hash what tells the answer apart; None: it cannot be told."""
        try:
            told = [stable_text(_plain(function())) for function in self._functions]
        except TypeError as error:
            self._say(
                name, f"what vary tells users apart by is no plain data ({error}); return an id"
            )
            return None
        parts = [identity.code, identity.variables(), request.method, request.host_url]
        parts += [request.root_path, request.path, *self._arguments()]
        parts += [joined([header, *request.headers.getlist(header)]) for header in self.headers]
        body = request.get_data() if request.content_length or _is_chunked() else b""
        parts.append(f"{request.content_type} {body!r}" if body else "")
        return digest(joined([*parts, *told]))

    def cache_control(self, max_age: int) -> str:
        """Tell browsers, and proxies between, what they may do."""
        age = f"max-age={max_age}" if max_age else "no-cache"
        return f"private, {age}" if self._is_private else age

    def _arguments(self) -> list[str]:
        """Write the query, sorted by name; the values of one name stay in their order."""
        names = sorted(request.args)
        if self._query is not None:
            names = [name for name in names if name in self._query]
        return [joined([name, *request.args.getlist(name)]) for name in names]

    def _say(self, name: str, why: str) -> None:
        if why not in self._said and len(self._said) < 10:
            self._said.add(why)
            warn("%s is not cached: %s", name, why)


def _is_chunked() -> bool:
    return "chunked" in request.headers.get("Transfer-Encoding", "")


def _was_read(session: Any) -> bool:
    return session is not None and bool(getattr(session, "accessed", True))


def _plain(value: Any) -> Any:
    """Return a value as it is, or a user's class and id where it names itself so."""
    if isinstance(value, LocalProxy):
        value = value._get_current_object()
    identify = getattr(value, "get_id", None)
    if callable(identify) and not isinstance(value, type):
        return f"{type(value).__module__}.{type(value).__qualname__}", identify()
    return value
