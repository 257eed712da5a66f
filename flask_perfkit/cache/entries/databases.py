"""Which data an engine means: all of its address, of its arguments and of its options."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from flask_perfkit.cache.entries.texts import digest, fresh, joined, stable_text

_SECRETS = re.compile(r"pass|pwd|secret|token|sslkey|sslcert|sslroot|_ca$|cert|keyfile", re.I)
_NO_DATA = frozenset({"connect_timeout", "timeout", "check_same_thread", "application_name"})
_IN_PROCESS = "flask_perfkit.cache.database"


def database_text(engine: sa.Engine) -> str:
    """Write what decides which data the engine's statements reach.

    Passwords and certificates do not count. The user does: a role may have a search path of its
    own, and row-level security shows each its own rows.
    """
    url = engine.url
    name = url.database or ""
    if engine.dialect.name == "sqlite" and (
        name in ("", ":memory:") or "mode=memory" in url.render_as_string()
    ):
        return _only_here(engine)
    query = {key: value for key, value in url.query.items() if _counts(key)}
    options = engine.get_execution_options()
    parts = [
        engine.dialect.name,
        url.username or "",
        url.host or "",
        str(url.port or ""),
        name,
        stable_text(query),
        _arguments_text(engine),
        stable_text(_schemas(options.get("schema_translate_map") or {})),
        _default_schema(engine),
    ]
    return digest(joined(parts))


def _default_schema(engine: sa.Engine) -> str:
    """Return the schema that a search path puts first, known once the engine has connected."""
    return "" if engine.dialect.name == "sqlite" else engine.dialect.default_schema_name or ""


def _schemas(translated: Mapping[str | None, str]) -> dict[str | None, str]:
    """Return the map as it was given: SQLAlchemy adds a key of its own when it first compiles."""
    return {schema: name for schema, name in translated.items() if schema != "_none"}


def _arguments_text(engine: sa.Engine) -> str:
    """Write the ``connect_args``, which the engine's pool holds in its creator."""
    arguments = {key: value for key, value in _connect_args(engine).items() if _counts(key)}
    try:
        return stable_text(arguments)
    except TypeError:
        return _only_here(engine)  # a factory or a connection: what it means cannot be told


def _connect_args(engine: sa.Engine) -> dict[str, Any]:
    """Take the arguments of the driver beside those of the URL; a creator of one's own is one."""
    given: dict[str, Any] = {}
    creator = engine.pool._creator
    if getattr(creator, "__module__", None) != sa.create_engine.__module__:
        return {"creator": creator}
    for cell in getattr(creator, "__closure__", None) or ():
        if isinstance(cell.cell_contents, dict):
            given.update(cell.cell_contents)
    of_url = engine.dialect.create_connect_args(engine.url)[1]
    return {key: value for key, value in given.items() if of_url.get(key) != value}


def _only_here(engine: sa.Engine) -> str:
    """Name an engine that means what no other process can tell, for as long as it lives."""
    text: str = engine.pool.__dict__.setdefault(_IN_PROCESS, fresh())
    return text


def _counts(key: str) -> bool:
    return key not in _NO_DATA and _SECRETS.search(key) is None
