from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from cache_models import Document, User, titles
from sqlalchemy.orm import Session

from flask_perfkit.cache.cache import Cache
from flask_perfkit.cache.stats import cache_stats


def test_each_combination_of_arguments_is_kept(cache: Cache) -> None:
    calls: list[Any] = []

    @cache.cached(ttl=60, depends_on=[])
    def add(a: int, b: int = 1) -> int:
        calls.append((a, b))
        return a + b

    assert [add(1), add(1, 1), add(a=1, b=1), add(2), add(1, b=2)] == [2, 2, 2, 3, 3]
    assert calls == [(1, 1), (2, 1), (1, 2)]


def test_it_needs_no_arguments_of_its_own(cache: Cache) -> None:
    @cache.cached
    def nothing() -> str:
        """Return nothing much."""
        return "nothing"

    assert [nothing(), nothing()] == ["nothing", "nothing"]
    assert (nothing.__name__, nothing.__doc__) == ("nothing", "Return nothing much.")


def test_what_it_depends_on_may_follow_from_the_arguments(
    cache: Cache, sqlite_engine: sa.Engine
) -> None:
    calls: list[int] = []

    @cache.cached(depends_on=lambda user_id: [Document.user_id == user_id])
    def titles_of(user_id: int) -> list[str]:
        calls.append(user_id)
        return titles(sqlite_engine, user_id)

    assert [titles_of(1), titles_of(2), titles_of(1)] == [["a"], ["b"], ["a"]]
    with Session(sqlite_engine) as session:
        session.get_one(Document, 2).title = "B"
        session.commit()
    assert [titles_of(1), titles_of(2)] == [["a"], ["B"]]
    assert calls == [1, 2, 2]


def test_methods_are_kept_by_a_key_of_their_own(cache: Cache) -> None:
    class Shop:
        def __init__(self, number: int) -> None:
            self.number = number
            self.calls = 0

        @cache.cached(depends_on=[], key=lambda shop, year: f"{shop.number}:{year}")
        def revenue(self, year: int) -> int:
            self.calls += 1
            return self.number * year

    one, other = Shop(1), Shop(2)
    assert [one.revenue(10), one.revenue(10), other.revenue(10)] == [10, 10, 20]
    assert (one.calls, other.calls) == (1, 1)


def test_an_object_among_the_arguments_is_refused_by_name(cache: Cache) -> None:
    @cache.cached(depends_on=[])
    def name_of(user: User) -> str:
        return user.name

    with pytest.raises(TypeError, match=r"argument 'user' of .*name_of .*pass its primary key"):
        name_of(User(id=1, name="Ada"))


def test_a_call_can_be_dropped_and_its_key_be_told(cache: Cache) -> None:
    calls: list[int] = []

    @cache.cached(depends_on=[])
    def double(number: int) -> int:
        calls.append(number)
        return 2 * number

    double(1)
    double(2)
    assert cache.get(double.cache_key(1)) == 2
    double.drop(1)
    double(1)
    double(2)
    assert calls == [1, 2, 1]


def test_all_calls_of_a_function_can_be_dropped(cache: Cache) -> None:
    calls: list[int] = []

    @cache.cached(depends_on=[])
    def double(number: int) -> int:
        calls.append(number)
        return 2 * number

    for number in (1, 2):
        double(number)
    assert cache.delete_matching(f"{double.cache_key(1).partition(':')[0]}:*") == 2
    double(1)
    assert calls == [1, 2, 1]


def generator() -> Any:
    yield


async def async_generator() -> Any:
    yield


@pytest.mark.parametrize("function", [generator, async_generator])
def test_what_returns_no_value_is_refused_at_once(cache: Cache, function: Any) -> None:
    with pytest.raises(TypeError, match="returns no value to keep"):
        cache.cached(function)


def test_a_bad_dependency_is_refused(cache: Cache) -> None:
    with pytest.raises(TypeError, match="allowed is"):
        cache.cached(depends_on=[Document.user_id])(lambda: 1)


@pytest.mark.parametrize("ttl", [0, -1, "60", True, float("nan"), float("inf"), 1e12])
def test_a_bad_life_is_refused_at_once(cache: Cache, ttl: Any) -> None:
    allowed = "allowed is a number of seconds above zero, up to ten years"
    with pytest.raises(ValueError, match=allowed):
        cache.cached(ttl=ttl)
    with pytest.raises(ValueError, match=allowed):
        cache.cached_response(ttl=ttl)
    with pytest.raises(ValueError, match=allowed):
        cache.get_or_create("key", lambda: 1, ttl=ttl)
    with pytest.raises(ValueError, match=allowed):
        cache.set("key", 1, ttl=ttl)


def test_calls_are_counted_under_the_functions_name(cache: Cache) -> None:
    @cache.cached(depends_on=[])
    def counted() -> int:
        return 1

    cache_stats.reset()
    for _ in range(3):
        counted()
    assert list(cache_stats.snapshot().values()) == [(2, 1)]
    assert counted.cache_key() in cache_stats.snapshot()
    cache_stats.reset()
