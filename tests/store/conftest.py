"""The places that a store can be kept in, each empty."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from archive import archive, names_of_owners
from flask import Flask

from flask_perfkit.store.writer import _writers

PLACES = ("memory", "sqlite", "redis")


def storage_url(kind: str, directory: Path, request: pytest.FixtureRequest) -> str:
    if kind == "memory":
        return "memory://"
    if kind == "sqlite":
        return f"sqlite:///{directory / 'perfkit.db'}"
    url: str = request.getfixturevalue("redis_url")
    return url


@pytest.fixture(autouse=True)
def nobody_writes_for_ever() -> Iterator[None]:
    """End the stores of the test: those of others may lie in the same place."""
    yield
    for writer in list(_writers):
        writer.stop()


@pytest.fixture(params=PLACES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty place: the test runs once on each kind."""
    return storage_url(request.param, tmp_path, request)


@pytest.fixture(params=PLACES[1:])
def shared_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty place that processes share."""
    return storage_url(request.param, tmp_path, request)


@pytest.fixture
def app(url: str) -> Iterator[Flask]:
    """An application in debug, with a store and an endpoint that walks into an N+1."""
    with archive(storage_url=url, DEBUG=True) as app:
        app.add_url_rule("/owners", view_func=names_of_owners)
        app.add_url_rule("/plain/<int:number>", "plain", lambda number: "ok")
        yield app
