"""What a workload records, and what it does not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime

import pytest
import sqlalchemy as sa
from flask import Flask
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from flask_perfkit import SettingsError, SetupError
from flask_perfkit.advice.planners.access import planner_for
from flask_perfkit.audit import Workload, advise


class Base(DeclarativeBase):
    pass


class Reading(Base):
    __tablename__ = "reading"
    id: Mapped[int] = mapped_column(primary_key=True)
    sensor: Mapped[int]
    kind: Mapped[str]
    at: Mapped[datetime]
    value: Mapped[int]


@pytest.fixture
def engine(tmp_path: object) -> Iterator[sa.Engine]:
    engine = sa.create_engine(f"sqlite:///{tmp_path}/readings.db")
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(
            sa.insert(Reading),
            [
                {
                    "sensor": n % 500,
                    "kind": "odd" if n % 400 == 0 else "even",
                    "at": datetime(2026, 1, 1 + n % 28, n % 24),
                    "value": n,
                }
                for n in range(20_000)
            ],
        )
    yield engine
    engine.dispose()


@pytest.fixture
def app(engine: sa.Engine) -> Flask:
    app = Flask("readings")

    @app.get("/sensor/<int:number>")
    def sensor(number: int) -> str:
        with Session(engine) as session:
            rows = session.scalars(sa.select(Reading).where(Reading.sensor == number))
            return str(len(rows.all()))

    @app.get("/word/<number>")
    def word(number: str) -> str:
        with Session(engine) as session:
            rows = session.scalars(sa.select(Reading).where(Reading.sensor == number))
            return str(len(rows.all()))

    @app.get("/day/<day>")
    def day(day: str) -> str:
        with Session(engine) as session:
            wanted = sa.func.date(Reading.at) == date.fromisoformat(day).isoformat()
            return str(len(session.scalars(sa.select(Reading).where(wanted)).all()))

    @app.get("/latest/<int:number>")
    def latest(number: int) -> str:
        with Session(engine) as session:
            query = sa.select(Reading).where(Reading.sensor == number)
            return str(session.scalars(query.order_by(Reading.at.desc()).limit(1)).one().value)

    return app


def test_one_statement_for_all_its_values(app: Flask, engine: sa.Engine) -> None:
    with Workload(app) as workload:
        client = app.test_client()
        client.get("/sensor/7")
        with workload.times(200):
            client.get("/sensor/8")
        with engine.connect() as connection:  # of nobody's request
            connection.execute(sa.select(Reading.id))
    app.test_client().get("/sensor/9")
    (statement,) = workload.statements
    assert statement.count == 201
    assert statement.endpoint == "sensor"
    assert [sample.parameters for sample in statement.samples] == [(7,), (8,)]


def test_no_value_shows(app: Flask) -> None:
    with Workload(app) as workload:
        app.test_client().get("/sensor/423")
    assert "423" not in repr(workload.statements)
    assert "423" not in str(advise(workload).to_dict())


@pytest.mark.parametrize("bad", [0, -1, 1.5, "200", True, None])
def test_times_is_a_whole_number(app: Flask, bad: object) -> None:
    with (
        Workload(app) as workload,
        pytest.raises(SettingsError, match=r"whole number from 1"),
        workload.times(bad),  # type: ignore[arg-type]
    ):
        pass


def test_advice_on_sqlite(app: Flask, engine: sa.Engine) -> None:
    with Workload(app) as workload:
        app.test_client().get("/sensor/7")
        app.test_client().get("/latest/7")
    advice = advise(workload)
    (one,) = advice.create
    assert one.sql in {
        "CREATE INDEX ix_reading_sensor ON reading (sensor)",
        "CREATE INDEX ix_reading_sensor_at ON reading (sensor, at)",
    }
    assert one.unit == "steps"
    assert one.gain > 50
    assert sa.inspect(engine).get_indexes("reading") == []


def test_a_number_may_be_compared_with_a_text(app: Flask, caplog: pytest.LogCaptureFixture) -> None:
    with Workload(app) as workload:
        assert app.test_client().get("/word/7").text == "40"
    assert [one.name for one in advise(workload, guessed=True).create] == ["ix_reading_sensor"]
    assert caplog.records == []


def test_a_rewrite_on_sqlite(app: Flask) -> None:
    with Workload(app) as workload:
        assert app.test_client().get("/day/2026-01-05").text == "715"
    advice = advise(workload)
    (rewrite,) = advice.rewrites
    assert rewrite.from_ == "date(reading.at) = :date_1"
    assert rewrite.served_by == "ix_reading_at"
    assert [one.name for one in advice.create] == ["ix_reading_at"]


def test_other_databases_are_refused_by_name(app: Flask) -> None:
    engine = sa.create_engine("mysql+mysqldb://", module=_NoDriver)
    with (
        pytest.raises(SetupError, match="PostgreSQL and SQLite, and not mysql"),
        planner_for(engine, harmless=True, method=None),
    ):
        pass


class _NoDriver:
    paramstyle = "format"
    version_info = (2, 2, 0)


def test_two_engines_of_one_database_are_asked_once(app: Flask, engine: sa.Engine) -> None:
    """As an application has them that makes one for each request."""

    @app.get("/again/<int:number>")
    def again(number: int) -> str:
        own = sa.create_engine(engine.url)
        with Session(own) as session:
            rows = session.scalars(sa.select(Reading).where(Reading.sensor == number)).all()
        own.dispose()
        return str(len(rows))

    with Workload(app) as workload:
        app.test_client().get("/again/7")
        app.test_client().get("/again/8")
    (statement,) = workload.statements
    assert statement.count == 2
    assert len(advise(workload).create) == 1


def test_a_list_that_is_short_by_now(app: Flask, engine: sa.Engine) -> None:
    with engine.begin() as connection:
        connection.execute(sa.delete(Reading).where(Reading.value > 29))

    @app.get("/all")
    def all_readings() -> str:
        with Session(engine) as session:
            return str(len(session.scalars(sa.select(Reading)).all()))

    @app.get("/count")
    def count() -> str:
        with Session(engine) as session:
            return str(session.scalar(sa.select(sa.func.count()).select_from(Reading)))

    @app.get("/joined")
    def joined() -> str:
        before = sa.orm.aliased(Reading)
        each = sa.select(Reading).outerjoin(before, before.value == Reading.value - 500)
        with Session(engine) as session:
            return str(len(session.scalars(each).all()))

    client = app.test_client()
    with Workload(app) as workload:
        assert {client.get(path).text for path in ("/all", "/count", "/joined")} == {"30"}
    check, of_joined = advise(workload).checks
    assert (check.kind, check.subject) == ("no_limit", "all_readings")
    assert (of_joined.kind, of_joined.subject) == ("no_limit", "joined")
    assert check.message == "selects every row of reading (30 so far), without LIMIT"
