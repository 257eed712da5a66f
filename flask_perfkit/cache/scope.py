"""Whose entries they are: applications on one server keep theirs apart by their databases.

Two applications, or two tests, may run the same functions on different data. Only values are
kept apart. A token is named by its table alone, so a write reaches the entries of all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import current_app

from flask_perfkit.cache.entries.keys import digest
from flask_perfkit.cache.stores.tokens import fresh

if TYPE_CHECKING:
    from sqlalchemy import Engine

_LENGTH = 8


def current_scope() -> str:
    """Return what the keys of the current application begin with.

    Empty where it has no Flask-SQLAlchemy. Credentials do not count: a worker may have its own.
    """
    extension = current_app.extensions.get("sqlalchemy")
    engines: dict[str | None, Engine] = getattr(extension, "engines", {})
    if not engines:
        return ""
    databases = sorted(f"{bind or ''}={_database(engine)}" for bind, engine in engines.items())
    return f"{digest('|'.join(databases))[:_LENGTH]}:"


def _database(engine: Engine) -> str:
    url = engine.url
    name = url.database or ""
    if engine.dialect.name == "sqlite" and (name in ("", ":memory:") or "mode=memory" in str(url)):
        return fresh()  # nobody else can reach it
    return f"{engine.dialect.name}://{url.host or ''}:{url.port or ''}/{name}"
