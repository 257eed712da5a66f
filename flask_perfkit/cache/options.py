"""What the decorators use of a cache, and the options that both take."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol, TypeVar

from flask_perfkit.cache.entries.dependencies import Dependencies

DependsOn = Iterable[Any] | Callable[..., Iterable[Any]] | None

_LONGEST_TTL = 10 * 365 * 86_400.0

T = TypeVar("T")


class CacheLike(Protocol):
    """What a decorator uses of a cache; see :class:`flask_perfkit.cache.Cache`."""

    namespaced: bool

    def get_or_create(
        self,
        key: str,
        creator: Callable[[], T],
        *,
        ttl: float | None = None,
        depends_on: Iterable[Any] | Dependencies | None = None,
        near: bool | None = None,
        stale: float = 0.0,
        name: str = ...,
        is_whole: Callable[[Any], bool] | None = None,
    ) -> T:
        """Return the value of the key; call the creator if there is none that is good."""

    async def get_or_await(
        self,
        key: str,
        creator: Callable[[], Awaitable[T]],
        *,
        ttl: float | None = None,
        depends_on: Iterable[Any] | Dependencies | None = None,
        near: bool | None = None,
        stale: float = 0.0,
        name: str = ...,
    ) -> T:
        """Return the value of the key; await the creator if there is none that is good."""

    def delete(self, *keys: str) -> int:
        """Drop entries and return how many there were."""


def checked_options(ttl: Any, near: Any, stale: Any) -> dict[str, Any]:
    """Return what both decorators hand on to a cache.

    :raises ValueError: one of them is not allowed.
    """
    if near is not None and not isinstance(near, bool):
        raise ValueError(f"near is {near!r:.100}; allowed is True, False or None")
    if type(stale) not in (int, float) or not 0 <= stale <= _LONGEST_TTL:
        raise ValueError(
            f"stale is {stale!r:.100}; allowed is a number of seconds from 0, up to ten years"
        )
    return {"ttl": checked_ttl(ttl), "near": near, "stale": stale}


def scoped(scope: str, key: Any) -> str:
    """Return a key with the scope of its entries in front.

    :raises TypeError: it is no text.
    """
    if not isinstance(key, str):
        raise TypeError(f"the key of an entry is {key!r:.100}; allowed is text")
    return scope + key


def checked_ttl(ttl: Any) -> Any:
    """Return a life in seconds as it is, None included.

    :raises ValueError: it is no number of seconds above zero, or one of more than ten years.
    """
    if ttl is None or (type(ttl) in (int, float) and 0 < ttl <= _LONGEST_TTL):
        return ttl
    raise ValueError(
        f"ttl is {ttl!r:.100}; allowed is a number of seconds above zero, up to ten years"
    )
