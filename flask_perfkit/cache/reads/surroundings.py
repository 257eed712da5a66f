"""What a cached function reads of the request around it, which its key does not hold.

The session, the request and what was put into ``g`` differ by user. Flask's session tells
whether it was read. The request and ``g`` get a class for the rest of their lives that tells;
they stay the same objects, because libraries go by that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import lru_cache
from types import ModuleType
from typing import Any

from flask import globals as globals_of_flask
from werkzeug.datastructures import EnvironHeaders

SESSION = "the session"
SCHEMA = "another schema or role"

_watching: ContextVar[tuple[Surroundings, ...]] = ContextVar("flask_perfkit_around", default=())

_REQUEST_ONLY = frozenset(
    ("args", "values", "form", "files", "data", "json", "stream", "view_args", "path", "full_path")
) | frozenset(
    ("url", "base_url", "url_root", "root_url", "host", "host_url", "query_string", "method")
)
"""What a request holds that the key of an answer holds too."""

_HEADERS_OF = {
    "cookies": "Cookie",
    "authorization": "Authorization",
    "accept_languages": "Accept-Language",
    "accept_mimetypes": "Accept",
    "accept_charsets": "Accept-Charset",
    "accept_encodings": "Accept-Encoding",
    "user_agent": "User-Agent",
    "referrer": "Referer",
    "origin": "Origin",
}
_SENDER = frozenset({"remote_addr", "remote_user", "access_route"})
_NO_INPUT = frozenset({"content-type", "content-length", "host", "transfer-encoding"})


class Surroundings:
    """What was read while a function ran.

    ``request`` says that parts were read that the address tells; ``headers`` holds the names of
    those that were read, in lower case; ``others`` what else was, in words.
    """

    def __init__(self) -> None:
        self.request = False
        self.headers: set[str] = set()
        self.others: set[str] = set()
        self._absent: set[str] = set()
        self._there: Mapping[str, Any] = {}

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Watch the contexts of Flask that are open while a function runs."""
        contexts = list(_contexts())
        kept = next((vars(context)["g"] for context in contexts if "g" in vars(context)), None)
        asked = next((vars(c)["request"] for c in contexts if "request" in vars(c)), None)
        for thing, watched in ((kept, _watched_globals), (asked, _watched_request)):
            if thing is not None and not isinstance(thing, _Watched):
                kind: Any = type(thing)
                object.__setattr__(thing, "__class__", watched(kind))  # g has one of its own
        self._there = dict(_variables(kept)) if kept is not None else {}
        session = session_of(contexts)
        before = _begin_session(session)
        token = _watching.set((*_watching.get(), self))
        try:
            yield
        finally:
            _watching.reset(token)
            if session is not None and getattr(session, "accessed", True):
                self.others.add(SESSION)
            elif before:
                session.accessed = True
            now = _variables(kept) if kept is not None else {}
            self.others.update(f"g.{name}" for name in self._absent if name not in now)

    def note_global(self, name: str) -> None:
        """Note that a variable of ``g`` was asked for."""
        if name in self._there:
            if not _is_machinery(self._there[name]):
                self.others.add(f"g.{name}")
        else:
            self._absent.add(name)


def note_surrounding(what: str) -> None:
    """Note that what runs in this context depends on something else than it was given."""
    for watching in _watching.get():
        watching.others.add(what)


def session_of(contexts: list[Any] | None = None) -> Any:
    """Return the session of the current request without its noticing; None if there is none."""
    for context in _contexts() if contexts is None else contexts:
        session = vars(context).get("_session", vars(context).get("session"))
        if session is not None:
            return session
    return None


def _contexts() -> Iterator[Any]:
    for name in ("app_ctx", "request_ctx"):  # which one has what differs by Flask's release
        try:
            yield getattr(globals_of_flask, name)._get_current_object()
        except (AttributeError, RuntimeError):
            continue


def _begin_session(session: Any) -> bool:
    """Let the session tell what is read from now on; return what it told before."""
    if session is None or not getattr(session, "accessed", True):
        return False
    with suppress(AttributeError):
        session.accessed = False
    return True


class _Watched:
    """Marks the classes made here."""


@lru_cache(maxsize=64)
def _watched_globals(kind: Any) -> type:
    """Make a class of ``g`` that tells which of its variables are read."""

    def reading(self: Any, name: str) -> Any:
        if name[:2] != "__" and name not in _METHODS:
            _note_global(name)
        return kind.__getattribute__(self, name)

    def asking(method: str) -> Any:
        def asked(self: Any, name: str, *args: Any) -> Any:
            _note_global(name)
            return getattr(kind, method)(self, name, *args)

        return asked

    def listing(self: Any) -> Any:
        names = list(kind.__iter__(self))
        for name in names:
            _note_global(name)
        return iter(names)

    methods = {name: asking(name) for name in ("get", "pop", "setdefault", "__contains__")}
    return type(
        kind.__name__,
        (kind, _Watched),
        {
            "__getattribute__": reading,
            "__iter__": listing,
            "__module__": kind.__module__,
            **methods,
        },
    )


_METHODS = frozenset({"get", "pop", "setdefault"})


@lru_cache(maxsize=64)
def _watched_request(kind: Any) -> type:
    """Make a class of requests that tells what is read of them."""

    def reading(self: Any, name: str) -> Any:
        watching = _watching.get()
        if watching:
            if name in _REQUEST_ONLY or name == "get_json" or name == "get_data":
                _note_request(watching)
            elif name in _HEADERS_OF:
                _note_header(_HEADERS_OF[name])
            elif name in _SENDER:
                note_surrounding(f"request.{name}")
            elif name == "headers":
                return _Headers(kind.__getattribute__(self, "environ"))
        return kind.__getattribute__(self, name)

    return type(
        kind.__name__,
        (kind, _Watched),
        {"__getattribute__": reading, "__module__": kind.__module__},
    )


class _Headers(EnvironHeaders):
    """The headers of a request, which tell those that are read."""

    def _get_key(self, key: str) -> str:
        _note_header(key)
        return super()._get_key(key)

    def __contains__(self, key: Any) -> bool:
        _note_header(str(key))
        return super().__contains__(key)

    def getlist(self, key: str, *args: Any, **kwargs: Any) -> Any:
        _note_header(key)
        return EnvironHeaders(self.environ).getlist(key, *args, **kwargs)

    def __iter__(self) -> Any:
        note_surrounding("request.headers")
        return super().__iter__()


def _note_request(watching: tuple[Surroundings, ...]) -> None:
    for each in watching:
        each.request = True


def _note_header(name: str) -> None:
    if name.lower() not in _NO_INPUT:
        for watching in _watching.get():
            watching.headers.add(name.lower())


def _note_global(name: str) -> None:
    for watching in _watching.get():
        watching.note_global(name)


def _variables(kept: Any) -> dict[str, Any]:
    found: dict[str, Any] = object.__getattribute__(kept, "__dict__")
    return found


def _is_machinery(value: Any) -> bool:
    """Say whether a value does something and tells nothing: a connection, a function, a logger."""
    return (
        callable(value)
        or isinstance(value, ModuleType)
        or hasattr(type(value), "execute")
        or hasattr(type(value), "cursor")
    )
