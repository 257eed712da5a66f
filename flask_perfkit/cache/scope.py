"""Whose entries they are: applications on one server keep theirs apart by their databases.

Two applications, or two tests, may run the same functions on different data. Only values are
kept apart. A token is named by its table alone, so a write reaches the entries of all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from flask import current_app

from flask_perfkit.cache.entries.databases import database_text
from flask_perfkit.cache.entries.texts import digest, joined, stable_text

if TYPE_CHECKING:
    from flask import Flask
    from sqlalchemy import Engine

_LENGTH = 8

_scopes: WeakKeyDictionary[Flask, tuple[tuple[Engine, ...], str]] = WeakKeyDictionary()


def scope_of_app(namespace: str | Callable[[], Any] | None) -> Callable[[], str]:
    """Return the function that says what the keys of the current application begin with.

    :param namespace: ``PERFKIT_CACHE_NAMESPACE``; a function is asked at each call.
    """

    def scope() -> str:
        databases = _databases()
        if namespace is None:
            return databases
        named = namespace() if callable(namespace) else namespace
        return f"{digest(joined([databases, stable_text(named)]))[: 2 * _LENGTH]}:"

    return scope


def _databases() -> str:
    """Hash the databases of the current application; empty where it has no Flask-SQLAlchemy."""
    app = current_app._get_current_object()  # type: ignore[attr-defined]
    engines: dict[str | None, Engine] = getattr(app.extensions.get("sqlalchemy"), "engines", {})
    known = _scopes.get(app)
    if known is not None and known[0] == tuple(engines.values()):
        return known[1]
    text = _text(engines) if engines else ""
    _scopes[app] = (tuple(engines.values()), text)
    return text


def _text(engines: dict[str | None, Engine]) -> str:
    parts = sorted(joined([bind or "", database_text(engine)]) for bind, engine in engines.items())
    return f"{digest(joined(parts))[:_LENGTH]}:"
