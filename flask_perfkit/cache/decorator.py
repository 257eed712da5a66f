"""``@cached``: a function's results, one entry for each combination of arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import partial, update_wrapper
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypedDict, TypeVar

from flask_perfkit.cache.entries.dependencies import Dependencies, dependencies
from flask_perfkit.cache.entries.keys import CallKeys
from flask_perfkit.cache.options import CacheLike, DependsOn, checked_ttl
from flask_perfkit.cache.writes.following import follow

P = ParamSpec("P")
R = TypeVar("R")

if TYPE_CHECKING:

    class CacheOptions(TypedDict, total=False):
        """The options of :func:`cached`, for those who pass them on."""

        ttl: float | None
        depends_on: DependsOn
        key: Callable[..., str] | None
        near: bool | None
        stale: float


class CachedFunction(Generic[P, R]):
    """A function whose results are kept in a cache; made by :func:`cached`."""

    __wrapped__: Callable[P, R]

    def __init__(
        self,
        function: Callable[P, R],
        find_cache: Callable[[], CacheLike],
        depends_on: DependsOn,
        key: Callable[P, str] | None,
        options: dict[str, Any],
    ) -> None:
        update_wrapper(self, function)
        self._function = function
        self._find_cache = find_cache
        self._depends_on = depends_on if callable(depends_on) else _fixed(depends_on)
        self._keys = CallKeys(function)
        self._own_key = key
        self._options = {**options, "name": self._keys.name}

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return the kept result of such a call, or call the function and keep its result."""
        declared = self._depends_on
        depends_on = declared(*args, **kwargs) if callable(declared) else declared
        return self._find_cache().get_or_create(
            self.cache_key(*args, **kwargs),
            partial(self._function, *args, **kwargs),
            depends_on=depends_on,
            **self._options,
        )

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Bind to an instance as a function does, so that methods can be cached."""
        call: Callable[..., R] = self
        return self if instance is None else partial(call, instance)

    def cache_key(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """Return the key under which the result of such a call is kept.

        :raises TypeError: an argument has no stable text, such as an ORM object.
        """
        if self._own_key is not None:
            return f"{self._keys.name}:{self._own_key(*args, **kwargs)}"
        return self._keys.key(args, kwargs)

    def drop(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Drop the result of such a call."""
        self._find_cache().delete(self.cache_key(*args, **kwargs))


def cached(
    find_cache: Callable[[], CacheLike],
    function: Callable[P, R] | None = None,
    *,
    ttl: float | None = None,
    depends_on: DependsOn = None,
    key: Callable[..., str] | None = None,
    near: bool | None = None,
    stale: float = 0.0,
) -> Any:
    """Keep the results of a function; with or without arguments of its own.

    :param find_cache: called at each call, so that a module-level function may serve several
        applications.
    :param depends_on: a list as for ``Cache.get_or_create``, or a function that returns one
        for the call's arguments (``lambda user_id: [Document.user_id == user_id]``).
    :param key: returns the key for the call's arguments, where these have no stable text.
    :raises TypeError: the function is a coroutine function or a generator.
    :raises ValueError: ``ttl`` is no number of seconds above zero.
    """
    options = {"ttl": checked_ttl(ttl), "near": near, "stale": stale}
    follow()

    def decorate(function: Callable[P, R]) -> CachedFunction[P, R]:
        for is_no_value, kind in _NO_VALUES:
            if is_no_value(function):
                raise TypeError(
                    f"{function.__qualname__} is {kind}, which returns no value to keep; "
                    "cache the plain function that it calls"
                )
        return CachedFunction(function, find_cache, depends_on, key, options)

    return decorate if function is None else decorate(function)


_NO_VALUES: tuple[tuple[Callable[[Any], bool], str], ...] = (
    (inspect.iscoroutinefunction, "a coroutine function"),
    (inspect.isasyncgenfunction, "an asynchronous generator"),
    (inspect.isgeneratorfunction, "a generator"),
)


def _fixed(depends_on: Iterable[Any] | None) -> Dependencies | None:
    return None if depends_on is None else dependencies(depends_on)
