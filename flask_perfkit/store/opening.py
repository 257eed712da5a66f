"""From a URL to a store."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from flask_perfkit.store.keeping import Keeper
from flask_perfkit.store.looks import CacheLook, Looks, ProcessLook
from flask_perfkit.store.places.place import Place
from flask_perfkit.store.store import Store
from flask_perfkit.store.tally import Tally
from flask_perfkit.store.writer import Writer

if TYPE_CHECKING:
    from flask import Flask

    from flask_perfkit.config import Settings


def open_store(
    app: Flask, db: Any, settings: Settings, excludes: Callable[[str], bool], *, counts_all: bool
) -> Store:
    """Open the store of an application; nothing is connected or written yet.

    :param excludes: says which endpoints are left out.
    :param counts_all: requests are counted that are not sampled, too.
    :raises ExtraMissing: it is kept in Redis, and redis-py is not installed.
    :raises SettingsError: the URL cannot be used.
    """
    url, limit = settings.storage_url or "memory://", settings.storage_limit
    shown = shown_url(url)
    writer = Writer(
        place := open_place(app, url, limit),
        Tally(excludes, settings.sample_rate, counts_all=counts_all),
        Keeper(keeps_all=app.debug or app.testing),
        shown,
        Looks(
            None if url == "memory://" else url,
            lambda: (CacheLook(), ProcessLook(app, db)),
        ),
    )
    return Store(place, writer, shown, limit)


def shown_url(url: str) -> str:
    """Return a URL without its credentials and options."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}"


def open_place(app: Flask, url: str, limit: int) -> Place:
    """Open the place that a URL names, for so many profiles."""
    scheme = urlsplit(url).scheme
    if scheme not in ("memory", "sqlite"):
        from flask_perfkit.store.places.redis import RedisPlace

        return RedisPlace(url, limit)
    from flask_perfkit.store.places.sqlite import SQLitePlace

    return SQLitePlace(_file(app, url) if scheme == "sqlite" else None, limit)


def _file(app: Flask, url: str) -> str:
    """Return the file of a URL; a path without a slash of its own lies in the instance folder."""
    return str(Path(app.instance_path, unquote(urlsplit(url).path).removeprefix("/")))
