"""Filters: what each operator and each column type lets through."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_sqlalchemy import SQLAlchemy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from marshmallow import Schema, fields
from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Enum,
    Integer,
    Interval,
    LargeBinary,
    Numeric,
    SmallInteger,
    String,
    TypeDecorator,
    cast,
    select,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flask_perfkit.pagination import paginated

# SQLAlchemy's own word about Numeric on SQLite.
pytestmark = pytest.mark.filterwarnings("ignore:Dialect sqlite.pysqlite does .not. support Decimal")


class Color(enum.Enum):
    RED = 1
    BLUE = 2


class Shouted(TypeDecorator[str]):
    impl = String(20)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        return None if value is None else value.upper()


class Cents(TypeDecorator[Decimal]):
    impl = Integer
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Any) -> int | None:
        return None if value is None else int(value * 100)

    def process_result_value(self, value: int | None, dialect: Any) -> Decimal | None:
        return None if value is None else Decimal(value) / 100


class Base(DeclarativeBase):
    pass


db = SQLAlchemy(model_class=Base)


class Thing(db.Model):
    id: Mapped[int] = mapped_column(primary_key=True)
    whole: Mapped[int | None]
    small: Mapped[int | None] = mapped_column(SmallInteger)
    big: Mapped[int | None] = mapped_column(BigInteger)
    text: Mapped[str | None] = mapped_column(String(80))
    flag: Mapped[bool | None]
    real: Mapped[float | None]
    moment: Mapped[datetime | None]
    instant: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    day: Mapped[date | None]
    clock: Mapped[time | None]
    key: Mapped[UUID | None]
    color: Mapped[Color | None]
    level: Mapped[str | None] = mapped_column(Enum("low", "high", name="level"))
    word: Mapped[str | None] = mapped_column(Shouted)
    price: Mapped[Decimal | None] = mapped_column(Numeric(10, 2))
    cost: Mapped[Decimal | None] = mapped_column(Cents)


class ThingSchema(Schema):
    id = fields.Integer()


@pytest.fixture
def app(database_url: str) -> Iterator[Flask]:
    app = Flask("filters")
    app.config.update(TESTING=True, SQLALCHEMY_DATABASE_URI=database_url)
    db.init_app(app)
    with app.app_context():
        db.create_all()
        yield app
        db.session.remove()
        db.engine.dispose()


def client(app: Flask, filters: Any) -> FlaskClient:
    """Serve the things that the filters let through."""

    @app.get("/things")
    @paginated(ThingSchema, filters=filters)
    def things() -> Any:
        return select(Thing).order_by(Thing.id)

    return app.test_client()


def found(app: Flask, filters: Any, query: str) -> list[int]:
    response = client(app, filters).get(f"/things?{query}")
    assert response.status_code == 200, response.text
    body: Any = response.json
    return [item["id"] for item in body["items"]]


@pytest.mark.parametrize(
    ("operator", "query", "expected"),
    [
        ("eq", "n=2", [2]),
        ("ne", "n=2", [1, 3]),
        ("lt", "n=2", [1]),
        ("le", "n=2", [1, 2]),
        ("gt", "n=2", [3]),
        ("ge", "n=2", [2, 3]),
        ("in", "n=1&n=3&n=9", [1, 3]),
        ("in", "n=1", [1]),
        ("eq", "", [1, 2, 3, 4]),
    ],
)
def test_operators_compare(app: Flask, operator: str, query: str, expected: list[int]) -> None:
    db.session.add_all([Thing(id=n, whole=n) for n in (1, 2, 3)] + [Thing(id=4)])
    db.session.commit()
    assert found(app, {"n": (Thing.whole, operator)}, query) == expected


@pytest.mark.parametrize(
    ("operator", "query", "expected"),
    [
        ("contains", "q=50%25", [1]),
        ("contains", "q=o", [1, 2]),
        ("startswith", "q=h", [2]),
        ("startswith", "q=_", [3]),
    ],
)
def test_operators_search_in_text_literally(
    app: Flask, operator: str, query: str, expected: list[int]
) -> None:
    db.session.add_all(
        [Thing(id=1, text="50% off"), Thing(id=2, text="hello"), Thing(id=3, text="_x")]
    )
    db.session.commit()
    assert found(app, {"q": (Thing.text, operator)}, query) == expected


@pytest.mark.parametrize(
    ("column", "stored", "written"),
    [
        ("whole", 7, "7"),
        ("big", 2**40, str(2**40)),
        ("text", "a b", "a%20b"),
        ("flag", True, "true"),
        ("real", 0.5, "0.5"),
        ("moment", datetime(2024, 5, 1, 10), "2024-05-01T12:00:00%2B02:00"),
        ("moment", datetime(2024, 5, 1, 10), "2024-05-01T10:00:00"),
        ("instant", datetime(2024, 5, 1, 10, tzinfo=UTC), "2024-05-01T10:00:00Z"),
        ("day", date(2024, 5, 1), "2024-05-01"),
        ("clock", time(10, 30), "10:30:00"),
        ("key", UUID(int=7), str(UUID(int=7))),
        ("color", Color.BLUE, "BLUE"),
        ("level", "high", "high"),
        ("word", "loud", "Loud"),
        ("cost", Decimal("2.50"), "2.50"),
    ],
)
def test_values_are_read_as_the_column_has_them(
    app: Flask, column: str, stored: Any, written: str
) -> None:
    db.session.add_all([Thing(id=1, **{column: stored}), Thing(id=2)])
    db.session.commit()
    assert found(app, {"value": getattr(Thing, column)}, f"value={written}") == [1]


@pytest.mark.parametrize(
    ("column", "written"),
    [
        ("whole", "x"),
        ("whole", str(2**31)),
        ("small", "32768"),
        ("big", str(2**63)),
        ("big", "1" * 5000),
        ("text", "a%00b"),
        ("flag", "perhaps"),
        ("real", "nan"),
        ("real", "1e999"),
        ("moment", "yesterday"),
        ("moment", "0001-01-01T00:00:00%2B14:00"),
        ("instant", "9999-12-31T23:59:59-14:00"),
        ("day", "2024-02-30"),
        ("clock", "25:00"),
        ("key", "7"),
        ("color", "GREEN"),
        ("level", "middle"),
        ("text", "x" * 81),
        ("word", "x" * 21),
        ("price", "1" * 1001),
        ("clock", "10:00%2B02:00"),
        ("cost", "a"),
        ("cost", "99999999"),
    ],
)
def test_other_values_are_a_400_that_names_the_parameter(
    app: Flask, column: str, written: str
) -> None:
    attribute = getattr(Thing, column)
    things = client(app, {"value": attribute, "values": (attribute, "in")})
    for name in ("value", "values"):
        response = things.get(f"/things?{name}={written}")
        body: Any = response.json
        assert (response.status_code, list(body["errors"])) == (400, [name])


def test_a_list_of_values_is_bounded(app: Flask) -> None:
    things = client(app, {"n": (Thing.whole, "in")})
    assert things.get("/things?" + "&".join(["n=1"] * 100)).status_code == 200
    assert things.get("/things?" + "&".join(["n=1"] * 101)).status_code == 400


@pytest.fixture
def open_to_all(app: Flask) -> FlaskClient:
    return client(
        app,
        {
            f"{column.key}-{operator}": (getattr(Thing, column.key), operator)
            for column in Thing.__table__.columns
            for operator in ("eq", "lt", "ge", "in", "ne")
        },
    )


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    column=st.sampled_from(Thing.__table__.columns.keys()),
    operator=st.sampled_from(["eq", "lt", "ge", "in", "ne"]),
    value=st.text()
    | st.integers().map(str)
    | st.floats().map(str)
    | st.decimals().map(str)
    | st.datetimes(timezones=st.timezones() | st.none()).map(datetime.isoformat)
    | st.dates().map(str)
    | st.times().map(str)
    | st.uuids().map(str),
)
def test_no_value_makes_a_500(
    open_to_all: FlaskClient, column: str, operator: str, value: str
) -> None:
    response = open_to_all.get("/things", query_string={f"{column}-{operator}": value})
    assert response.status_code in (200, 400)


def test_a_declaration_that_cannot_work_is_refused_with_the_cure() -> None:
    with pytest.raises(ValueError, match=r"filters\['n'\] has the operator 'gte'; allowed are eq,"):
        paginated(ThingSchema, filters={"n": (Thing.whole, "gte")})
    for kind in (JSON(), LargeBinary(), Interval()):
        with pytest.raises(TypeError, match=r"filters\['n'\].*cast the column"):
            paginated(ThingSchema, filters={"n": cast(Thing.text, kind)})


def test_text_is_searched_for_in_texts_only() -> None:
    for column in (Thing.whole, Thing.day, Thing.color, Thing.cost, Thing.key, Thing.flag):
        for operator in ("contains", "startswith"):
            with pytest.raises(ValueError, match=f"operator '{operator}', which .* does not have"):
                paginated(ThingSchema, filters={"n": (column, operator)})
    for column in (Thing.text, Thing.word):
        paginated(ThingSchema, filters={"n": (column, "contains")})


def test_numbers_with_a_fraction_are_compared_as_decimals(app: Flask) -> None:
    db.session.add_all([Thing(id=1, price=Decimal("9.90")), Thing(id=2, price=Decimal("10.10"))])
    db.session.commit()
    things = client(app, {"under": (Thing.price, "lt")})
    body: Any = things.get("/things?under=9.91").json
    assert body["items"] == [{"id": 1}]
    assert things.get("/things?under=1e999999").status_code == 400
