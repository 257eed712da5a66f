from __future__ import annotations

import enum
import subprocess
import sys
import uuid
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from cache_models import User
from hypothesis import given
from hypothesis import strategies as st

from flask_perfkit.cache.entries.keys import CallKeys, stable_text


def report(user_id: int, *, year: int = 2026, tags: Any = ()) -> None: ...


def nothing() -> None: ...


KEYS = CallKeys(report)


def key(*args: Any, **kwargs: Any) -> str:
    return KEYS.key(args, kwargs)


def test_a_key_begins_with_the_functions_name() -> None:
    assert key(1).startswith(f"{__name__}.report:")
    assert CallKeys(nothing).key((), {}) == f"{__name__}.nothing"


def test_the_same_call_has_the_same_key_however_it_is_written() -> None:
    assert key(1) == key(user_id=1) == key(1, year=2026) == key(year=2026, user_id=1)


def test_equal_values_of_other_types_are_other_calls() -> None:
    keys = [key(1), key(True), key(1.0), key("1"), key(Decimal(1)), key(b"1"), key(None)]
    assert len(set(keys)) == len(keys)
    assert keys[0] == key(1)


def test_order_counts_in_lists_and_not_in_dicts_and_sets() -> None:
    assert key(1, tags=["a", "b"]) != key(1, tags=["b", "a"])
    assert key(1, tags={"a": 1, "b": 2}) == key(1, tags={"b": 2, "a": 1})
    assert key(1, tags={"a", "b"}) == key(1, tags={"b", "a"})
    assert key(1, tags=["a"]) != key(1, tags=("a",))


def test_texts_cannot_pretend_to_be_other_arguments() -> None:
    assert key(1, tags=["a", "b"]) != key(1, tags=["a,str('b')"])
    assert key(1, tags="x&year=int(1)") != key(1, year=1, tags="x")


class Color(enum.Enum):
    RED = 1


def test_plain_values_are_keys() -> None:
    key(1, tags=[uuid.UUID(int=1), date(2026, 1, 1), Color.RED, {"a": (None,)}, int])


def test_an_orm_object_is_refused_with_the_arguments_name() -> None:
    with pytest.raises(TypeError, match=r"'tags' of .*report.*User object; pass its primary key"):
        key(1, tags=[User(id=1)])


def test_an_object_without_stable_text_is_refused() -> None:
    with pytest.raises(TypeError, match="has no stable text"):
        key(object())


def test_a_wrong_call_is_the_functions_own_type_error() -> None:
    with pytest.raises(TypeError, match="missing a required argument: 'user_id'"):
        key()


def test_keys_are_the_same_in_another_process() -> None:
    code = (
        "from flask_perfkit.cache.entries.keys import digest, stable_text;"
        "print(digest(stable_text([{'b', 'a'}, {'x': 1}, 'é'])))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


plain = st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.dates()
arguments = st.recursive(
    plain,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)


@given(arguments, arguments)
def test_different_values_have_different_texts(one: Any, other: Any) -> None:
    assert (stable_text(one) == stable_text(other)) == (repr_of(one) == repr_of(other))


def repr_of(value: Any) -> Any:
    """Write a value so that only order within dicts is lost."""
    if isinstance(value, dict):
        return ("dict", sorted((name, repr(repr_of(item))) for name, item in value.items()))
    if isinstance(value, list | tuple):
        return (type(value).__name__, [repr_of(item) for item in value])
    return (type(value).__name__, value)
