"""What the caches of one server share in this process, put together."""

from __future__ import annotations

import threading
from weakref import WeakValueDictionary

from flask_perfkit.cache.maker import Maker
from flask_perfkit.cache.reader import Reader
from flask_perfkit.cache.stores.breaker import Breaker
from flask_perfkit.cache.stores.lost import Lost
from flask_perfkit.cache.stores.memory import MemoryBackend
from flask_perfkit.cache.stores.near import Near
from flask_perfkit.cache.stores.push import PushListener
from flask_perfkit.cache.stores.tokens import Backend, Sightings
from flask_perfkit.cache.writes import following as writes
from flask_perfkit.cache.writes.invalidation import Invalidator

_cores: WeakValueDictionary[str, Core] = WeakValueDictionary()
_opening = threading.Lock()


class Core:
    """A backend with everything around it that must be there once a process.

    Two caches of one server would otherwise each mark every commit.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.near = Near()
        lost = Lost(backend)
        self.breaker = Breaker(lost.send)
        sightings = Sightings()
        self.invalidator = Invalidator(backend, self.breaker, lost, sightings, self.near)
        self.reader = Reader(backend, self.breaker, sightings, self.near)
        self.maker = Maker(backend, self.breaker, lost, self.invalidator, sightings, self.reader)
        source = backend.open_pushes()
        self.pushes = None if source is None else PushListener(source, self.near)
        writes.listen(self.invalidator)


def open_core(url: str | None) -> Core:
    """Return the core of the server at this URL; without one, a new core in this process.

    :raises ExtraMissing: redis-py is not installed.
    """
    if url is None:
        return Core(MemoryBackend())
    from flask_perfkit.cache.stores.client import connect

    with _opening:
        core = _cores.get(url)
        if core is None:
            core = _cores[url] = Core(connect(url))
        return core
