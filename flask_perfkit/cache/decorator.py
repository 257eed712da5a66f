"""``@cached``: a function's results, one entry for each combination of arguments."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Awaitable, Callable, Iterable
from functools import partial, update_wrapper
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypedDict, TypeVar

from flask_perfkit.cache.entries.dependencies import Dependencies, dependencies
from flask_perfkit.cache.entries.keys import CallKeys
from flask_perfkit.cache.options import CacheLike, DependsOn, checked_options
from flask_perfkit.cache.reads.creators import refuse
from flask_perfkit.cache.reads.surroundings import SCHEMA, Surroundings
from flask_perfkit.cache.writes.following import follow
from flask_perfkit.given import is_called

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
    """A function whose results are kept in a cache; made by :func:`cached`.

    That of a coroutine function is awaited as the function is.
    """

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
        self._is_async = inspect.iscoroutinefunction(function)
        if self._is_async:
            _mark_as_coroutine_function(self)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return the kept result of such a call, or call the function and keep its result."""
        declared = self._depends_on
        depends_on = declared(*args, **kwargs) if callable(declared) else declared
        cache, key = self._find_cache(), self.cache_key(*args, **kwargs)
        if self._is_async:
            made = partial(self._await, cache, args, kwargs)
            return cache.get_or_await(key, made, depends_on=depends_on, **self._options)  # type: ignore[return-value]
        create: Callable[[], R] = partial(self._create, cache, args, kwargs)
        return cache.get_or_create(key, create, depends_on=depends_on, **self._options)

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Bind to an instance as a function does, so that methods can be cached."""
        call: Callable[..., R] = self
        return self if instance is None else partial(call, instance)

    def cache_key(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """Return the key under which the result of such a call is kept.

        :raises TypeError: an argument has no stable text, such as an ORM object.
        """
        if self._own_key is not None:
            return self._keys.own_key(str(self._own_key(*args, **kwargs)))
        return self._keys.key(args, kwargs)

    def drop(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Drop the result of such a call."""
        self._find_cache().delete(self.cache_key(*args, **kwargs))

    def _create(self, cache: CacheLike, args: Any, kwargs: Any) -> Any:
        if self._own_key is not None:
            return self._function(*args, **kwargs)
        around = Surroundings()
        with around.watch():
            result = self._function(*args, **kwargs)
        self._judge(around, cache)
        return result

    async def _await(self, cache: CacheLike, args: Any, kwargs: Any) -> Any:
        function: Callable[..., Awaitable[Any]] = self._function  # type: ignore[assignment]
        if self._own_key is not None:
            return await function(*args, **kwargs)
        around = Surroundings()
        with around.watch():
            result = await function(*args, **kwargs)
        self._judge(around, cache)
        return result

    def _judge(self, around: Surroundings, cache: CacheLike) -> None:
        """Keep the result from being stored where the key lacks what the function read."""
        read = set(around.others) | {f"the header {name}" for name in around.headers}
        if around.request:
            read.add("the request")
        if cache.namespaced:
            read.discard(SCHEMA)
        if read:
            refuse(
                f"it reads {', '.join(sorted(read))}, which its key does not hold, so its result "
                "may be one user's: pass what it needs as an argument, or say it with key= (a "
                "tenant with PERFKIT_CACHE_NAMESPACE)"
            )


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
    """Keep the results of a function or a coroutine function.

    With or without arguments of its own. A function is known by its code and by what it closes
    over. One that reads the session, the request or the current user is not kept, unless
    ``key`` takes that into account.

    :param find_cache: called at each call, so that a module-level function may serve several
        applications.
    :param depends_on: a list as for ``Cache.get_or_create``, or a function that returns one
        for the call's arguments (``lambda user_id: [Document.user_id == user_id]``).
    :param key: returns the key for the call's arguments, where these have no stable text.
    :raises TypeError: the function is a generator or a class, or an option is of another kind.
    :raises ValueError: ``ttl``, ``near`` or ``stale`` is not allowed.
    """
    options = checked_options(ttl, near, stale)
    if key is not None and not is_called(key):
        raise TypeError(
            f"key is {key!r:.100}; allowed is a function of the call's arguments that returns text"
        )
    if inspect.isclass(depends_on):
        raise TypeError(f"depends_on is {depends_on!r}; allowed is a list: [{depends_on.__name__}]")
    follow()

    def decorate(function: Callable[P, R]) -> CachedFunction[P, R]:
        for is_no_value, kind in _NO_VALUES:
            if is_no_value(function):
                raise TypeError(
                    f"{function.__qualname__} is {kind}, which returns no value to keep; "
                    "cache a function that returns a list"
                )
        return CachedFunction(function, find_cache, depends_on, key, options)

    return decorate if function is None else decorate(function)


_NO_VALUES: tuple[tuple[Callable[[Any], bool], str], ...] = (
    (inspect.isasyncgenfunction, "an asynchronous generator"),
    (inspect.isgeneratorfunction, "a generator"),
    (inspect.isclass, "a class"),
)


def _mark_as_coroutine_function(function: CachedFunction[Any, Any]) -> None:
    """Let Flask and others see that the result has to be awaited."""
    if sys.version_info >= (3, 12):
        inspect.markcoroutinefunction(function)
    else:
        function._is_coroutine = asyncio.coroutines._is_coroutine  # type: ignore[attr-defined]


def _fixed(depends_on: Iterable[Any] | None) -> Dependencies | None:
    return None if depends_on is None else dependencies(depends_on)
