"""Pages over a partitioned table, whose key holds the partition's column."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from effort import ENOUGH, effort_of
from flask import Flask
from paging_walk import walk
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from flask_perfkit.pagination import CursorParams, paginate

ROWS = 6_000
START = datetime(2024, 1, 1)


class Base(DeclarativeBase):
    pass


class Sensor(Base):
    __tablename__ = "sensor"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Measured:
    """One row a minute; every minute has three sensors."""

    number: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(primary_key=True)
    sensor_id: Mapped[int]
    value: Mapped[int | None]


class ByTime(Measured, Base):
    __tablename__ = "by_time"
    __table_args__ = (
        sa.Index("ix_by_time", "at", "number"),
        {"postgresql_partition_by": "RANGE (at)"},
    )
    sensor: Mapped[Sensor] = relationship(
        primaryjoin="foreign(ByTime.sensor_id) == Sensor.id", viewonly=True
    )


class ByHash(Measured, Base):
    __tablename__ = "by_hash"
    __table_args__ = (
        sa.Index("ix_by_hash", "at", "number"),
        {"postgresql_partition_by": "HASH (number)"},
    )


PARTITIONS = (
    "CREATE TABLE january PARTITION OF by_time FOR VALUES FROM (MINVALUE) TO ('2024-01-02')",
    "CREATE TABLE february PARTITION OF by_time FOR VALUES FROM ('2024-01-02') TO ('2024-01-04')",
    "CREATE TABLE others PARTITION OF by_time DEFAULT",
    *(
        f"CREATE TABLE hash_{n} PARTITION OF by_hash FOR VALUES WITH (MODULUS 3, REMAINDER {n})"
        for n in range(3)
    ),
)


@pytest.fixture
def session(postgres_url: str) -> Iterator[Session]:
    engine = sa.create_engine(postgres_url)
    rows = [
        {
            "number": n,
            "at": START + timedelta(minutes=n // 3 * 3),
            "sensor_id": n % 3,
            "value": None if n % 5 == 0 else n * 7 % 11,
        }
        for n in range(ROWS)
    ]
    with engine.begin() as connection:
        Base.metadata.create_all(connection)
        for statement in PARTITIONS:
            connection.execute(sa.text(statement))
        connection.execute(sa.insert(Sensor), [{"id": n, "name": f"s{-n}"} for n in range(3)])
        for table in (ByTime, ByHash):
            connection.execute(sa.insert(table), rows)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("VACUUM ANALYZE"))
    app = Flask("measured")
    app.secret_key = "of the tests"
    with app.app_context(), Session(engine) as session:
        yield session
    engine.dispose()


def test_every_row_comes_once_in_every_order(session: Session) -> None:
    for table in (ByTime, ByHash):
        sortable: dict[str, Any] = {"at": table.at, "value": table.value}
        query = sa.select(table).where(table.number < 100)
        for sort in ("at", "-at", "value", "-value,at"):
            found = walk(query, 7, sort, sortable=sortable, session=session)
            assert sorted(row.number for row in found) == list(range(100)), (table, sort)


def test_a_join_to_partitions_pages_by_both(session: Session) -> None:
    query = sa.select(ByTime, Sensor).join(ByTime.sensor).where(ByTime.number.between(1400, 1500))
    query = query.order_by(Sensor.name, ByTime.at.desc())
    expected = [row[0].number for row in session.execute(query.order_by(ByTime.number.desc()))]
    found = walk(query, 8, session=session)
    assert sorted(row[0].number for row in found) == sorted(expected)
    assert [(row[1].name, row[0].at) for row in found] == [
        (row[1].name, row[0].at) for row in session.execute(query)
    ]


@pytest.mark.parametrize("table", [ByTime, ByHash])
def test_a_deep_page_reads_the_index_of_each_partition(session: Session, table: Any) -> None:
    def page_at(cursor: str | None, size: int = 10) -> Any:
        query = sa.select(table.number)
        options: dict[str, Any] = {"sortable": {"at": table.at}, "session": session}
        return paginate(query, CursorParams(cursor, size, "-at"), **options)

    engine = session.get_bind()
    for depth in (10, ROWS // 2, ROWS * 9 // 10):
        here = page_at(page_at(None, depth).next_cursor)
        for cursor in (here.next_cursor, here.previous_cursor):
            with effort_of(engine) as effort:
                page_at(cursor)
            assert 0 < effort.amount <= 3 * ENOUGH["postgresql"], (depth, effort.amount)
