"""What one application owns; it lives in ``app.extensions["perfkit"]``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from flask_perfkit.cache.process.fork import Lock
from flask_perfkit.config import Settings
from flask_perfkit.sinks import Sink

if TYPE_CHECKING:
    from flask_perfkit.alerts.monitor import Monitor
    from flask_perfkit.cache.cache import Cache
    from flask_perfkit.recording.profile import Profile
    from flask_perfkit.store.store import Store
    from flask_perfkit.wsgi import Edge

MOST_REPLAYS = 200
"""Requests that are kept to be asked again, one an endpoint."""


class Replay(NamedTuple):
    """A GET as it was asked, to ask it again; in memory only, never shown.

    ``path`` and ``query`` are ``PATH_INFO`` and ``QUERY_STRING`` as WSGI spells them.
    """

    path: str
    query: str
    headers: tuple[tuple[str, str], ...]


@dataclass(slots=True)
class State:
    """The settings of an application and where its profiles go.

    ``written`` is what was written to ``app.config`` where nothing was set. ``look_again`` takes
    in what was set since, as long as no request has come. ``early_sinks`` tells, during a
    request, which sinks must hear before its response leaves. ``is_audited`` says that an audit
    asks. ``notes_reads`` says that reads of attributes are noted, ``replays`` are GETs with
    findings by endpoint, kept in debug and tests. ``edge`` is where requests pass; ``monitor`` is
    there once there is an alert, ``store`` where profiles are kept for somebody to look at,
    ``put_badge`` where pages show in debug what they took.
    """

    settings: Settings
    db: Any
    written: dict[str, Any] = field(default_factory=dict)
    sinks: tuple[Sink, ...] = ()
    early_sinks: Callable[[], tuple[Sink, ...]] = tuple
    look_again: Callable[[], object] = bool
    notes_reads: bool = False
    is_audited: bool = False
    replays: dict[str, Replay] = field(default_factory=dict)
    edge: Edge | None = None
    monitor: Monitor | None = None
    store: Store | None = None
    put_badge: Callable[[Any, Any, Profile, str, str], object] | None = None
    _cache: Cache | None = None
    _opening: Lock = field(default_factory=Lock)

    @property
    def cache(self) -> Cache:
        """The cache of the application, opened when it is first asked for."""
        return self._cache or self.open_cache()

    def close_cache(self) -> None:
        """Forget the cache, which is opened anew, with the settings of then, when it is needed."""
        with self._opening:
            self._cache = None

    def open_cache(self) -> Cache:
        """Open the cache, which follows this process's writes from then on.

        :raises ExtraMissing: ``PERFKIT_REDIS_URL`` is set and redis-py is not installed.
        """
        from flask_perfkit.cache.cache import Cache
        from flask_perfkit.cache.scope import scope_of_app

        with self._opening:
            if self._cache is None:
                self._cache = Cache(self.settings, scope_of_app(self.settings.cache_namespace))
            return self._cache
