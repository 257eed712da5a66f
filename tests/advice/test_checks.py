"""What a schema shows by itself, on PostgreSQL."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from flask_perfkit.advice.checks import checks_of

metadata = sa.MetaData()
sa.Table(
    "narrow", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("n", sa.Integer)
)
sa.Table("wide", metadata, sa.Column("id", sa.BigInteger, primary_key=True))
sa.Table("missing", metadata, sa.Column("id", sa.Integer, primary_key=True))


@pytest.fixture
def engine(postgres_url: str) -> Any:
    engine = sa.create_engine(postgres_url)
    metadata.create_all(engine, [metadata.tables[name] for name in ("narrow", "wide")])
    yield engine
    engine.dispose()


def found(engine: sa.Engine, **options: Any) -> dict[tuple[str, str], str]:
    with engine.connect() as connection:
        checks = checks_of(connection, metadata, **options)
    return {(one.kind, one.subject): one.message for one in checks}


def test_how_far_a_narrow_key_is(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("SELECT setval('narrow_id_seq', 1073741824)")
    assert found(engine) == {
        ("narrow_key", "narrow.id"): (
            "has 32 bits, of which its sequence has used 50 % (1,073,741,824 of 2,147,483,647)"
        )
    }


def test_what_an_interrupted_build_left(engine: sa.Engine) -> None:
    with psycopg.connect(
        f"host={engine.url.query['host']} user=postgres dbname={engine.url.database}",
        autocommit=True,
    ) as connection:
        connection.execute("INSERT INTO narrow (n) VALUES (1), (1)")
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute("CREATE UNIQUE INDEX CONCURRENTLY half ON narrow (n)")
    assert "INVALID" in found(engine)["invalid_index", "half"]


def test_what_nothing_reads(engine: sa.Engine) -> None:
    """Not of a server that has just begun to count, and never what is unique."""
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE INDEX idle ON narrow (n)")
        connection.exec_driver_sql("CREATE UNIQUE INDEX kept ON narrow (n)")
    kinds = {kind for kind, _ in found(engine)}
    assert "unused_index" not in kinds
    unused = [
        name for kind, name in found(engine, unused_for=timedelta()) if kind == "unused_index"
    ]
    assert unused == ["idle"]
