"""What the database can sort, a cursor can carry: types of which a driver gives another value."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from paging_models import create_app, db
from paging_walk import walk
from sqlalchemy import (
    JSON,
    REAL,
    Column,
    Float,
    Integer,
    Interval,
    MetaData,
    Numeric,
    Select,
    String,
    Table,
    TypeDecorator,
    cast,
    func,
    insert,
    literal,
    select,
    text,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY, INET, JSONB, NUMRANGE, TSVECTOR, asyncpg
from sqlalchemy.types import UserDefinedType

from flask_perfkit.errors import CursorError
from flask_perfkit.pagination import CursorParams, PaginationParams, paginate
from flask_perfkit.pagination.order.sortable import Ordered
from flask_perfkit.pagination.statement.layout import lay_out

metadata = MetaData()


class Weight(TypeDecorator[float]):
    """Grams in the application, kilograms of single precision in the database."""

    impl = REAL
    cache_ok = True

    def process_bind_param(self, value: float | None, dialect: Any) -> float | None:
        return None if value is None else value / 1000

    def process_result_value(self, value: float | None, dialect: Any) -> float | None:
        return None if value is None else value * 1000


class Cents(TypeDecorator[Decimal]):
    impl = Integer
    cache_ok = True

    def process_bind_param(self, value: Decimal | None, dialect: Any) -> int | None:
        return None if value is None else int(value * 100)

    def process_result_value(self, value: int | None, dialect: Any) -> Decimal | None:
        return None if value is None else Decimal(value) / 100


class Pair(UserDefinedType[str]):
    """A composite type of PostgreSQL."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "pair"


parcels = Table(
    "parcel",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("weight", Weight),
    Column("ratio", Float(24)),
    Column("price", Cents),
    Column("data", JSON(none_as_null=True)),
    Column("label", String(8000)),
)


@pytest.fixture
def parcels_of(database_url: str) -> Iterator[None]:
    with create_app(database_url).app_context():
        metadata.create_all(db.session.connection())
        db.session.commit()
        yield
        db.session.remove()
        db.engine.dispose()


def check(column: Any, key: Any, plain: Any = None) -> None:
    """Walk both ways in three orders, and compare with what the database's ORDER BY says."""
    orders = {
        "it": (column, key),
        "-it": (column.desc(), key.desc()),
        "-it,id": (column.desc(), key),
    }
    for sort, order in orders.items():
        query = select(key) if plain is None else plain
        expected = list(db.session.execute(query.order_by(*order)))
        for size in (1, 3):
            found = walk(query, size, sort, sortable={"it": column, "id": key})
            assert list(map(tuple, found)) == list(map(tuple, expected))


@pytest.mark.usefixtures("parcels_of")
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("weight", [100.0, 200.0, 300.0, 1 / 3, 100.0, None, None]),
        ("ratio", [0.1, 0.2, 1 / 3, 16777217.0, 0.1, None]),
        ("price", [Decimal("2.50"), Decimal("10.00"), Decimal("2.50"), None]),
        # MariaDB sorts by the first 1,024 bytes of a text.
        ("label", ["b" + "x" * 5000, "a" + "x" * 5000, "b" + "x" * 5000, "a", None]),
    ],
)
def test_a_type_that_the_application_converts(name: str, values: list[Any]) -> None:
    rows = [{"id": number, name: value} for number, value in enumerate(values, 1)]
    db.session.execute(insert(parcels), rows)
    check(parcels.c[name], parcels.c.id)
    if name in ("weight", "ratio"):
        check(func.abs(parcels.c[name]), parcels.c.id)


@pytest.mark.usefixtures("parcels_of")
def test_a_long_value_is_looked_up_by_its_row() -> None:
    rows = [{"id": number, "label": "long " * 1000 + str(number)} for number in range(1, 6)]
    db.session.execute(insert(parcels), rows)
    query, sortable = select(parcels.c.id), {"label": parcels.c.label}
    first = paginate(query, CursorParams(None, 2, "label"), sortable=sortable)
    assert first.next_cursor is not None
    assert len(first.next_cursor) < 2_000
    second = paginate(query, CursorParams(first.next_cursor, 2, "label"), sortable=sortable)
    assert [row.id for row in second.items] == [3, 4]
    db.session.execute(parcels.delete().where(parcels.c.id == 2))
    with pytest.raises(CursorError, match="is gone: start again at the first page"):
        paginate(query, CursorParams(first.next_cursor, 2, "label"), sortable=sortable)
    grouped = select(parcels.c.label).group_by(parcels.c.label).order_by(parcels.c.label)
    with pytest.raises(ValueError, match="too long for a cursor"):
        paginate(grouped, CursorParams(page_size=1))


POSTGRESQL: dict[str, tuple[str, list[str | None]]] = {
    "interval": ("interval", ["1 mon", "30 days", "29 days 23:59:59.999999", "1 year", None]),
    "real": ("real", ["0.1", "0.2", "NaN", "-Infinity", "16777216", None]),
    "jsonb": ("jsonb", ["null", "1", "1.0", '"a"', "[2, 1]", "[10]", '{"k": null}', None]),
    "array": ("integer[]", ["{1,2}", "{}", "{1,NULL}", "{10}", None]),
    "inet": ("inet", ["10.0.0.1", "10.0.0.1/8", "::1", "9.255.0.0", None]),
    "range": ("numrange", ["[1,2)", "empty", "(,1.50)", "[1,)", None]),
    "enum": ("mood", ["sad", "ok", "happy", "ok", None]),
    "char": ("char(5)", ["a", "ab", "a  ", "", None]),
    "bit": ("bit varying(8)", ["1", "01", "", "11111111", None]),
    "domain": ("percentage", ["1.5", "99", "1.50", None]),
}


@pytest.fixture
def postgresql(postgres_url: str) -> Iterator[None]:
    with create_app(postgres_url).app_context():
        for made in (
            "CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy')",
            "CREATE TYPE pair AS (n integer, name text)",
            "CREATE DOMAIN percentage AS numeric CHECK (VALUE <= 100)",
        ):
            db.session.execute(text(made))
        yield
        db.session.remove()
        db.engine.dispose()


def _table_of(kind: str, values: list[str | None]) -> Table:
    db.session.execute(text(f"CREATE TABLE odd (id integer PRIMARY KEY, it {kind})"))
    for number, value in enumerate([*values, *values], 1):
        statement = text(f"INSERT INTO odd VALUES (:id, CAST(CAST(:it AS text) AS {kind}))")
        db.session.execute(statement, {"id": number, "it": value})
    return Table("odd", MetaData(), Column("id", Integer, primary_key=True), Column("it"))


@pytest.mark.usefixtures("postgresql")
@pytest.mark.parametrize("kind", POSTGRESQL)
def test_every_type_of_postgresql(kind: str) -> None:
    odd = _table_of(*POSTGRESQL[kind])
    check(odd.c.it, odd.c.id)


@pytest.mark.usefixtures("postgresql")
def test_expressions_whose_type_nobody_tells() -> None:
    words = literal("a fat cat sat on a mat and ate a fat rat", String)
    query = func.to_tsquery("english", literal("fat & rat"))
    numbers = func.generate_series(1, 6).table_valued("n").render_derived()
    repeated = func.repeat(words + " ", cast(numbers.c.n % 3 + 1, Integer))
    rank = func.ts_rank(func.to_tsvector("english", repeated), query)
    check(rank, numbers.c.n, select(numbers.c.n))


@pytest.mark.usefixtures("postgresql")
@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (Pair(), ["(1,b)", "(1,a)", "(10,q)", "(2,z)", None]),
        (INET(), ["10.0.0.1", "9.0.0.1", None]),
        (JSONB(), ["null", "3", '"x"', None]),
        (ARRAY(Integer), ["{2}", "{1,5}", "{}"]),
        (NUMRANGE(), ["[1,2)", "(,1)", "empty"]),
        (Interval(), ["1 mon", "31 days", None]),
        (Numeric(asdecimal=False), ["1.10", "1.1", "12345678901234567890.5"]),
        (TSVECTOR(), ["'a':1", "'b':2", None]),
    ],
)
def test_types_as_models_declare_them(kind: Any, values: list[str | None]) -> None:
    _table_of(kind.compile(dialect=db.engine.dialect), values)
    odd = Table("odd", MetaData(), Column("id", Integer, primary_key=True), Column("it", kind))
    check(odd.c.it, odd.c.id)


@pytest.mark.usefixtures("postgresql")
def test_a_union_of_json_rows() -> None:
    odd = _table_of("json", ['{"b": 1}', '{"a": 1}', '{"b": 1}'])
    odd = Table("odd", MetaData(), Column("id", Integer), Column("it", JSON))
    query = union_all(select(odd.c.it), select(odd.c.it).where(odd.c.id > 2))
    expected = sorted(str(row) for row in db.session.execute(query))
    for size in (1, 4):
        assert sorted(map(str, walk(query, size))) == expected
    page = paginate(query, PaginationParams(page_size=20))
    assert page.total == 10


def test_a_json_null_is_a_value_and_a_missing_one_is_none(parcels_of: None) -> None:
    rows: list[Any] = [{"k": 1}, JSON.NULL, None, [3], JSON.NULL, None, "x"]
    for number, value in enumerate(rows, 1):
        db.session.execute(insert(parcels), {"id": number, "data": value})
    column: Any = parcels.c.data
    if db.engine.dialect.name == "postgresql":
        column = cast(column, JSONB)
    check(column, parcels.c.id)


def test_a_cursor_of_another_type_is_refused(parcels_of: None) -> None:
    db.session.execute(insert(parcels), [{"id": n, "label": str(n)} for n in range(1, 5)])

    def by(kind: Any) -> Select[Any]:
        table = Table(
            "parcel", MetaData(), Column("id", Integer, primary_key=True), Column("label", kind)
        )
        return select(table.c.id).order_by(table.c.label)

    cursor = paginate(by(String(8000)), CursorParams(page_size=2)).next_cursor
    with pytest.raises(CursorError, match="another query"):
        paginate(by(Integer), CursorParams(cursor, 2))


def test_what_a_driver_rounds_is_refused() -> None:
    key = Column("id", Integer, primary_key=True)
    spans = Table("spans", MetaData(), key, Column("it", Interval))
    laid = lay_out(
        Ordered(select(spans.c.id).order_by(spans.c.it)), asyncpg.dialect(), for_cursor=True
    )
    with pytest.raises(ValueError, match=r"spans\.it by asyncpg, which rounds the months"):
        assert laid.layout.keyset
