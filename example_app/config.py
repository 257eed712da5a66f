"""Where the application's settings come from: the environment, then the caller."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from typing import Any

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError


def read_config(overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the settings of one application: the defaults, with ``overrides`` laid over them.

    The environment gives ``DATABASE_URL``, ``REDIS_URL`` and ``SECRET_KEY``. Without a
    ``SECRET_KEY`` each process makes its own, so that no cursor outlives it.
    """
    config = {
        "DATABASE_URL": os.environ.get("DATABASE_URL") or "sqlite:///example.db",
        "REDIS_URL": os.environ.get("REDIS_URL") or None,
        "SECRET_KEY": os.environ.get("SECRET_KEY") or secrets.token_hex(),
        "MAX_CONTENT_LENGTH": 16 * 1024 * 1024,
        "PERFKIT_METRICS_PATH": "/metrics",
        **(overrides or {}),
    }
    config.setdefault("SQLALCHEMY_DATABASE_URI", config.pop("DATABASE_URL"))
    config["SQLALCHEMY_DATABASE_URI"] = _database_url(config["SQLALCHEMY_DATABASE_URI"])
    config.setdefault("PERFKIT_REDIS_URL", config["REDIS_URL"])
    return config


def _database_url(text: str | URL) -> URL:
    try:
        url = make_url(text)
    except ArgumentError as error:
        raise ValueError(
            "DATABASE_URL is no database URL; allowed is one such as "
            "sqlite:///example.db or postgresql://user:password@host/database"
        ) from error
    if url.drivername in ("postgres", "postgresql"):
        return url.set(drivername="postgresql+psycopg")
    return url
