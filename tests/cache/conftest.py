from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from cache_models import fill
from cache_server import Server

from flask_perfkit.cache.cache import Cache


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    """Users 1 and 2, with document 1 ("a") and document 2 ("b")."""
    engine = sa.create_engine(database_url)
    fill(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def sqlite_engine(tmp_path: Path) -> Iterator[sa.Engine]:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'test.db'}")
    fill(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def postgres_engine(postgres_url: str) -> Iterator[sa.Engine]:
    engine = sa.create_engine(postgres_url)
    fill(engine)
    yield engine
    engine.dispose()


@pytest.fixture(params=["memory", "redis"])
def cache(request: pytest.FixtureRequest) -> Cache:
    """A cache of each kind, empty."""
    if request.param == "memory":
        return Cache.from_url()
    return Cache.from_url(request.getfixturevalue("redis_url"))


@pytest.fixture
def redis_cache(redis_url: str) -> Cache:
    return Cache.from_url(redis_url)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "valkey")
    yield server
    server.stop()
