"""What the caches of one server share in this process, put together."""

from __future__ import annotations

from flask_perfkit.cache.lookup.maker import Maker
from flask_perfkit.cache.lookup.reader import Reader
from flask_perfkit.cache.process.fork import Lock
from flask_perfkit.cache.stores.breaker import Breaker
from flask_perfkit.cache.stores.memory import MemoryBackend
from flask_perfkit.cache.stores.near import Near
from flask_perfkit.cache.stores.push import PushListener
from flask_perfkit.cache.stores.tokens import Backend, SeenTokens
from flask_perfkit.cache.stores.unsent import Unsent
from flask_perfkit.cache.writes import following as writes
from flask_perfkit.cache.writes.invalidation import Invalidator

_by_url: dict[str, SharedParts] = {}
"""Kept for good: other processes rely on what this one announces, whoever still uses a cache."""

_opening = Lock()


class SharedParts:
    """A backend with everything around it that must be there once a process.

    Two caches of one server would otherwise each mark every commit.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.near = Near()
        unsent = Unsent(backend)
        self.breaker = Breaker(unsent.send, unsent.has_marks, lambda: backend.epoch)
        seen_tokens = SeenTokens()
        self.invalidator = Invalidator(backend, self.breaker, unsent, seen_tokens, self.near)
        self.reader = Reader(backend, self.breaker, seen_tokens, self.near)
        self.maker = Maker(
            backend, self.breaker, unsent, self.invalidator, seen_tokens, self.reader
        )
        source = backend.open_pushes()
        self.pushes = None if source is None else PushListener(source, self.near)
        writes.listen(self.invalidator)


def open_shared(url: str | None) -> SharedParts:
    """Return the parts of the server at this URL; without one, new ones in this process.

    :raises ExtraMissing: redis-py is not installed.
    """
    if url is None:
        return SharedParts(MemoryBackend())
    from flask_perfkit.cache.stores.client import connect

    with _opening:
        shared = _by_url.get(url)
        if shared is None:
            shared = _by_url[url] = SharedParts(connect(url))
        return shared
