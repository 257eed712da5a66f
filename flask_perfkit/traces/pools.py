"""The databases that statements go to, and how their pools are used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from weakref import WeakSet

from opentelemetry.metrics import CallbackOptions, Observation
from sqlalchemy.engine import Engine
from sqlalchemy.pool import QueuePool

from flask_perfkit.traces.telemetry import meter

_SYSTEMS = {"mssql": "microsoft.sql_server", "oracle": "oracle.db"}
"""Dialects whose system has another name in the conventions."""

_engines: WeakSet[Engine] = WeakSet()


def measure_pool(engine: Engine) -> None:
    """Measure the pool of an engine from now on, as long as the engine lives."""
    _engines.add(engine)


def attributes_of(engine: Engine) -> dict[str, Any]:
    """Return what the conventions say of a database, without user and password."""
    dialect, url = engine.dialect, engine.url
    system = "mariadb" if getattr(dialect, "is_mariadb", False) else dialect.name
    attributes: dict[str, Any] = {"db.system.name": _SYSTEMS.get(system, system)}
    if url.database:
        attributes["db.namespace"] = url.database
    host = url.host or url.query.get("host")
    if host and isinstance(host, str):
        attributes["server.address"] = host
    if url.port:
        attributes["server.port"] = url.port
    return attributes


def _observe_count(options: CallbackOptions) -> Iterator[Observation]:
    for pool, name in _pools():
        states = {"used": pool.checkedout(), "idle": pool.checkedin()}
        for state, count in states.items():
            yield Observation(count, {**name, "db.client.connection.state": state})


def _observe_max(options: CallbackOptions) -> Iterator[Observation]:
    for pool, name in _pools():
        if pool._max_overflow >= 0:
            yield Observation(pool.size() + pool._max_overflow, name)


def _pools() -> Iterator[tuple[QueuePool, dict[str, str]]]:
    """Yield the pools that count their connections; the others keep none to speak of."""
    for engine in list(_engines):
        if isinstance(engine.pool, QueuePool):
            name = engine.pool.logging_name or engine.url.set(query={}).render_as_string()
            yield engine.pool, {"db.client.connection.pool.name": name}


meter.create_observable_up_down_counter(
    "db.client.connection.count",
    [_observe_count],
    unit="{connection}",
    description="Connections of a pool, by what they are doing.",
)
meter.create_observable_up_down_counter(
    "db.client.connection.max",
    [_observe_max],
    unit="{connection}",
    description="Open connections that a pool may have at most.",
)
