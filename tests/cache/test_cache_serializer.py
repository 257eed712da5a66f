from __future__ import annotations

import enum
import json
import math
import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from cache_models import User
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.orm import Session

from flask_perfkit.cache.entries.serializer import NotCacheable, decode, encode

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.dates()
    | st.datetimes(timezones=st.none() | st.just(UTC))
    | st.times()
    | st.timedeltas()
    | st.uuids()
    | st.decimals(allow_nan=False)
)
values = st.recursive(
    scalars | st.frozensets(scalars, max_size=3) | st.sets(scalars, max_size=3),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(values)
def test_a_value_comes_back_with_its_types(value: Any) -> None:
    back = decode(*encode(value))
    assert back == value
    assert type(back) is type(value)


def test_json_types_are_written_as_plain_json() -> None:
    text, tagged = encode({"a": [1, 2.5, None, True, "é"]})
    assert json.loads(text) == {"a": [1, 2.5, None, True, "é"]}
    assert not tagged


def test_not_a_number_and_infinity_survive() -> None:
    back = decode(*encode([math.inf, -math.inf, math.nan]))
    assert back[:2] == [math.inf, -math.inf]
    assert math.isnan(back[2])


def test_a_tuple_becomes_a_list_and_a_number_as_key_becomes_text() -> None:
    assert decode(*encode({1: (2, 3)})) == {"1": [2, 3]}


class Color(enum.Enum):
    RED = 1


@dataclass
class Point:
    x: int


async def coroutine_function() -> None: ...


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        (User(id=1, name="Ada"), "return a dict of its columns"),
        (Point(1), "dataclasses.asdict"),
        (Color.RED, "return the member's value"),
        (iter([1]), "return a list"),
        ((number for number in [1]), "return a list"),
        (object(), "return plain data"),
        (1j, "return plain data"),
    ],
    ids=["ORM object", "dataclass", "enum", "iterator", "generator", "object", "complex"],
)
def test_anything_else_is_refused_with_what_to_return_instead(value: Any, advice: str) -> None:
    with pytest.raises(NotCacheable, match=advice):
        encode({"nested": [value]})


def test_a_row_is_refused_with_what_to_return_instead() -> None:
    engine = sa.create_engine("sqlite://")
    with Session(engine) as session:
        rows = session.execute(sa.select(sa.literal(1).label("one"))).all()
    with pytest.raises(NotCacheable, match=r"dict\(row._mapping\)"):
        encode(rows)
    engine.dispose()


def test_a_coroutine_is_refused() -> None:
    coroutine = coroutine_function()
    with pytest.raises(NotCacheable, match="await it"):
        encode(coroutine)
    coroutine.close()


def test_a_value_that_contains_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(NotCacheable, match="Circular"):
        encode(loop)


def test_a_key_that_looks_like_a_type_of_ours_is_refused() -> None:
    with pytest.raises(NotCacheable, match="perfkit:type"):
        encode({"perfkit:type": "Decimal", "value": "1"})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nonsense",
        "[1] and more",
        '{"perfkit:type":"os.system","value":"true"}',
        '{"perfkit:type":"Decimal","value":"x"}',
        '{"perfkit:type":"datetime"}',
    ],
    ids=["empty", "no JSON", "too much", "other type", "bad value", "no value"],
)
def test_garbage_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of any kind
        decode(text, tagged=True)


@pytest.mark.parametrize("text", ["", "nonsense", "[1] and more", "[1"])
def test_garbage_for_plain_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of any kind
        decode(text, tagged=False)


def test_examples_of_every_type() -> None:
    value = [
        datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
        date(2026, 1, 2),
        time(1, 2, 3),
        timedelta(days=-1, microseconds=1),
        Decimal("1.50"),
        uuid.UUID(int=1),
        b"\x00\xff",
        {1},
        frozenset({2}),
    ]
    assert decode(*encode(value)) == value
