"""How tests look into a store."""

from __future__ import annotations

from typing import Any

from flask import Flask

from flask_perfkit.store.reading import Period, RequestFilter
from flask_perfkit.store.store import Store


def store_of(app: Flask) -> Store:
    store: Store = app.extensions["perfkit"].store
    return store


def hour() -> Period:
    """The last hour, up to now."""
    return Period.last(3_600)


def ask(app: Flask, path: str, times: int = 1, **options: Any) -> None:
    client = app.test_client()
    for _ in range(times):
        client.get(path, **options)


def counts(app: Flask) -> dict[str, float]:
    """Return how many requests of each rule were counted."""
    found = store_of(app).routes(hour(), kind="request")
    return {route.key.name: route.count for route in found.items}


def kept(app: Flask, limit: int = 1_000) -> list[str]:
    """Return the rules of the requests that are stored, the latest first."""
    only = RequestFilter(kind="request")
    return [each.route.name for each in store_of(app).requests(hour(), only, limit=limit).items]
