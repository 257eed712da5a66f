"""The state of connection pools, as it changes."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.pool import NullPool, QueuePool, SingletonThreadPool

from flask_perfkit import PerfKit
from tests.metrics.scraping import scrape


@pytest.fixture
def app() -> Flask:
    app = Flask("pools", root_path=".")
    app.config["PERFKIT_METRICS_PATH"] = "/metrics"
    PerfKit(app)
    scrape(app)
    return app


@pytest.fixture
def engine(app: Flask, tmp_path: Path) -> Iterator[sa.Engine]:
    engine = sa.create_engine(
        f"sqlite:///{tmp_path / 'a.db'}", poolclass=QueuePool, pool_size=2, max_overflow=1
    )
    yield engine
    engine.dispose()


def pool(app: Flask) -> tuple[float, ...]:
    """Return used and idle connections, and those beyond the size."""
    seen = scrape(app)
    used, idle = (seen.of("db_pool_connections", state=state) for state in ("used", "idle"))
    return used, idle, seen.of("db_pool_overflow")


def test_connections_are_used_idle_or_too_many(app: Flask, engine: sa.Engine) -> None:
    first, second, third = (engine.connect() for _ in range(3))
    assert pool(app) == (3, 0, 1)
    seen = scrape(app)
    assert (seen.of("db_pool_size"), seen.of("db_pool_max_connections")) == (2, 3)
    third.close()
    second.close()
    assert pool(app) == (1, 2, 1)
    first.close()  # there is no place left for it
    assert pool(app) == (0, 2, 0)
    engine.dispose()
    assert pool(app) == (0, 0, 0)


def test_a_connection_that_is_invalidated_or_taken_away_is_open_no_more(
    app: Flask, engine: sa.Engine
) -> None:
    with engine.connect() as connection:
        connection.invalidate()
        assert pool(app)[1] == 0
    assert pool(app) == (0, 0, 0)
    with engine.connect() as connection:
        connection.detach()
        assert pool(app) == (0, 0, 0)


def test_a_pool_that_keeps_nothing(app: Flask, tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'b.db'}", poolclass=NullPool)
    with engine.connect():
        assert pool(app)[:2] == (1, 0)
    assert pool(app)[:2] == (0, 0)


def test_what_fails_to_connect_is_not_used(app: Flask, tmp_path: Path) -> None:
    """Refused at the first try, refused again when it is renewed, and found broken by a ping."""
    works = [False]

    def connect() -> sqlite3.Connection:
        if not works[0]:
            raise sqlite3.OperationalError("no route to host")
        return sqlite3.connect(tmp_path / "c.db", check_same_thread=False)

    engine = sa.create_engine(
        "sqlite://", creator=connect, poolclass=QueuePool, pool_size=2, pool_pre_ping=True
    )
    with pytest.raises(sa.exc.OperationalError):
        engine.connect()
    assert pool(app)[:2] == (0, 0)
    works[0] = True
    with engine.connect() as first, engine.connect() as second:
        assert pool(app)[:2] == (2, 0)
        second.invalidate()
        assert pool(app)[0] == engine.pool.checkedout() == 1  # type: ignore[attr-defined]
        assert first.scalar(sa.text("SELECT 1")) == 1
    assert pool(app)[:2] == (0, 1)
    works[0] = False
    engine.pool._invalidate_time = time.time() + 1  # type: ignore[attr-defined]
    for _ in range(2):
        with pytest.raises(sa.exc.OperationalError):
            engine.connect()
        assert pool(app)[0] == 0
    assert pool(app)[:2] == (0, 0)
    works[0] = True
    with engine.connect():
        assert pool(app)[0] == 1
    assert scrape(app).of("db_pool_wait_seconds_count") == 6
    engine.dispose()


def test_a_pool_that_gives_one_connection_to_a_thread(app: Flask) -> None:
    engine = sa.create_engine("sqlite://", poolclass=SingletonThreadPool)
    with engine.connect():
        with engine.connect():
            assert pool(app)[0] == 1
        assert pool(app)[0] == 1
    assert pool(app)[:2] == (0, 1)
    engine.dispose()


def test_waiting_is_timed(app: Flask, engine: sa.Engine) -> None:
    engine.pool._timeout = 0.05  # type: ignore[attr-defined]
    taken = [engine.connect() for _ in range(3)]
    with pytest.raises(sa.exc.TimeoutError):
        engine.connect()
    for connection in taken:
        connection.close()
    seen = scrape(app)
    assert seen.of("db_pool_wait_seconds_count") == 4
    assert seen.of("db_pool_wait_seconds_bucket", le="0.01") <= 3
    assert seen.of("db_pool_wait_seconds_sum") >= 0.05
