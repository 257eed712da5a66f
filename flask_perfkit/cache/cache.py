"""The cache of an application: values by key, dropped when what they depend on changes."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, TypeVar, cast

from flask import has_request_context, request

from flask_perfkit.bypass import is_bypassed
from flask_perfkit.cache.decorator import cached
from flask_perfkit.cache.entries.dependencies import Dependencies, own_tables, with_anything
from flask_perfkit.cache.entries.entry import Entry, pack
from flask_perfkit.cache.entries.serializer import decode, encode
from flask_perfkit.cache.lookup.learned import LearnedByPlace
from flask_perfkit.cache.lookup.maker import UNNAMED, Request, plain
from flask_perfkit.cache.lookup.steps import Way, walk, walk_async
from flask_perfkit.cache.options import checked_ttl, scoped
from flask_perfkit.cache.process.log import warn
from flask_perfkit.cache.profiling import note, noted
from flask_perfkit.cache.reads.creators import include, running
from flask_perfkit.cache.reads.declared import declared
from flask_perfkit.cache.response import cached_response
from flask_perfkit.cache.shared import open_shared
from flask_perfkit.cache.stats import cache_stats
from flask_perfkit.cache.stores.breaker import Unavailable
from flask_perfkit.cache.stores.near import NearEntry
from flask_perfkit.cache.stores.tokens import TOKEN_SECONDS
from flask_perfkit.cache.writes import following as writes
from flask_perfkit.config import check_redis_url

if TYPE_CHECKING:
    from flask_perfkit.config import Settings


_TTL = 300.0

T = TypeVar("T")


class Cache:
    """Keep results until their time is over or a table they depend on has changed.

    A read that begins after a commit has returned never gets a value older than that commit;
    ``docs/explanation/cache.md`` says what that rests on and where it ends. Faults of the server
    never reach the caller: values come from their source then.

    Usable without an application::

        cache = Cache.from_url("redis://localhost:6379/0")
    """

    namespaced = False
    """Whether keys say by ``PERFKIT_CACHE_NAMESPACE`` whose they are."""

    def __init__(self, settings: Settings, find_scope: Callable[[], str] = str) -> None:
        self._open(settings.redis_url, settings.cache_ttl, settings.cache_near, find_scope)
        self.namespaced = settings.cache_namespace is not None

    @classmethod
    def from_url(cls, url: str | None = None, *, ttl: float = _TTL, near: bool = False) -> Cache:
        """Open a cache on a server, or in this process without a URL.

        :param ttl: life in seconds of an entry that names none.
        :param near: keep hot entries in the process as well.
        :raises ExtraMissing: redis-py is not installed.
        :raises SettingsError: the URL is none of Redis.
        """
        if url is not None:
            check_redis_url(url, "url")
        cache = cls.__new__(cls)
        cache._open(url, ttl, near, str)
        return cache

    def _open(self, url: str | None, ttl: float, near: bool, find_scope: Callable[[], str]) -> None:
        self._ttl = checked_ttl(ttl)
        self._near_by_default = near
        self._shared = open_shared(url)
        self._learned = LearnedByPlace()
        self._scope = find_scope
        self._warned_of_processes = False

    def get_or_create(
        self,
        key: str,
        creator: Callable[[], T],
        *,
        ttl: float | None = None,
        depends_on: Iterable[Any] | Dependencies | None = None,
        near: bool | None = None,
        stale: float = 0.0,
        name: str = UNNAMED,
        is_whole: Callable[[Any], bool] | None = None,
    ) -> T:
        """Return the value of the key; call the creator if there is none that is good.

        :param creator: called without arguments, by one thread of one process at a time. What
            it returns must be plain data; a tuple comes back as a list, also the first time.
        :param ttl: life in seconds, shortened by up to a tenth at random.
        :param depends_on: tables, or column values (``[Document.user_id == 7]``); left out,
            the tables that the creator is seen to read.
        :param near: keep the entry in this process too; ``PERFKIT_CACHE_NEAR`` unless given.
        :param stale: for so many seconds after its life, give out the old value while one
            caller makes it again, also where making it fails. A commit ends it at once all the
            same.
        :param name: under which ``cache_stats`` counts.
        :param is_whole: says whether a kept value has the shape that the creator gives it; one
            that has not, as another release stored it, is a miss.
        :raises NotCacheable: the creator returned something else than plain data.
        :raises ValueError: ``ttl`` is no number of seconds above zero.
        """
        if is_bypassed():
            return cast(T, plain(creator()))
        value, asked = self._ask(key, creator, ttl, depends_on, near, stale, name, is_whole)
        if asked is None:
            return cast(T, value)
        value, way = self._answer(asked)
        return cast(T, value if way is None else walk(way))

    async def get_or_await(
        self,
        key: str,
        creator: Callable[[], Awaitable[T]],
        *,
        ttl: float | None = None,
        depends_on: Iterable[Any] | Dependencies | None = None,
        near: bool | None = None,
        stale: float = 0.0,
        name: str = UNNAMED,
        is_whole: Callable[[Any], bool] | None = None,
    ) -> T:
        """Return the value of the key; await the creator if there is none that is good.

        As :meth:`get_or_create`, for coroutines: of all tasks, threads and processes one awaits
        the creator, and tasks that wait for it let others run. The trip to the server itself
        takes a tenth of a millisecond, in which the event loop stands.
        """
        if is_bypassed():
            return cast(T, plain(await creator()))
        value, asked = self._ask(key, creator, ttl, depends_on, near, stale, name, is_whole)
        if asked is None:
            return cast(T, value)
        value, way = self._answer(asked)
        return cast(T, value if way is None else await walk_async(way))

    def _ask(
        self,
        key: str,
        creator: Callable[[], Any],
        ttl: float | None,
        depends_on: Iterable[Any] | Dependencies | None,
        near: bool | None,
        stale: float,
        name: str,
        is_whole: Callable[[Any], bool] | None,
    ) -> tuple[Any, Request | None]:
        """Return the value that is kept near, or else what has to be asked for."""
        scope = self._scope()
        plain_key, key = key, scoped(scope, key)
        if not callable(creator):
            raise TypeError(
                f"the creator of {plain_key!r:.100} is {creator!r:.100}; allowed is a function "
                "that makes the value"
            )
        # Inside another creator the near entry would not do: what it lacks would be kept there.
        near = (self._near_by_default if near is None else near) and running.get() is None
        if near and (entry := self._near_entry(key)) is not None:
            value = decode(entry.text, entry.tagged)
            if is_whole is None or is_whole(value):
                cache_stats.hit(name)
                return value, None
        if near and self._shared.pushes is not None:
            self._shared.pushes.ensure()
        life = self._ttl if ttl is None else checked_ttl(ttl)
        if depends_on is not None:
            needs, learn = with_anything(declared(depends_on)), None
        else:
            learned = self._learned.at(name, creator, key)
            needs, learn = learned.dependencies, learned.learn
        return None, Request(
            key,
            creator,
            name,
            life,
            stale,
            needs,
            life if near else 0.0,
            learn,
            self._shared.maker.stored,
            is_whole,
            lambda: self._scope() + plain_key == key,
        )

    def cached(self, function: Callable[..., Any] | None = None, **options: Any) -> Any:
        """Keep the results of a function in this cache; options as for ``PerfKit.cached``."""
        return cached(lambda: self, function, **options)

    def cached_response(self, view: Callable[..., Any] | None = None, **options: Any) -> Any:
        """Keep the answers of a view in this cache; options as for ``PerfKit.cached_response``."""
        return cached_response(lambda: self, view, **options)

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of the key, or the default if there is none that is good."""
        started = perf_counter_ns()
        value = self._get_many([key]).get(key, default)
        note("get", key, started)
        return value

    def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """Return the values that are there and good, by key, in two trips."""
        with noted("get_many"):
            return self._get_many(keys)

    def _get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        if is_bypassed():
            return {}
        if isinstance(keys, str) or not isinstance(keys, Iterable):
            raise TypeError(f"keys is {keys!r:.100}; allowed is a list of texts")
        scope = self._scope()
        wanted = {scoped(scope, key): key for key in keys}
        try:
            hits = self._shared.reader.read_many(list(wanted)) if wanted else {}
        except Unavailable:
            hits = {}
        found = {}
        for key, hit in hits.items():
            if not writes.uncommitted(own_tables(hit.entry.names)):
                found[wanted[key]] = hit.value
                include(hit.tokens)
        if found:
            cache_stats.hit(n=len(found))
        if len(found) < len(wanted):
            cache_stats.miss(n=len(wanted) - len(found))
        return found

    def set(
        self,
        key: str,
        value: Any,
        *,
        ttl: float | None = None,
        depends_on: Iterable[Any] = (),
    ) -> None:
        """Store a value.

        It counts as read now: a commit between reading its parts and this call stays unseen.
        ``get_or_create`` has no such gap.

        :param ttl: life in seconds.
        :param depends_on: tables or column values whose change drops it.
        :raises NotCacheable: the value is not plain data.
        """
        needs = with_anything(declared(depends_on))
        text, tagged = encode(value)
        with noted("set", key):
            life = self._ttl if ttl is None else checked_ttl(ttl)
            self._set(scoped(self._scope(), key), text, tagged, needs, life)

    def _set(self, key: str, text: str, tagged: bool, needs: Dependencies, life: float) -> None:
        self._shared.near.drop(key)
        if writes.uncommitted(own_tables(needs.names)):
            self._drop([key])
            return
        tokens_life = max(TOKEN_SECONDS, 2 * life)
        prepared = self._shared.breaker.attempt(
            self._shared.backend.prepare, needs.names, needs.columns, tokens_life, None
        )
        if prepared is None or None in prepared.tokens.values():
            self._drop([key])
            return
        self._shared.invalidator.learn_moves(prepared.moves)
        tokens = tuple(str(prepared.tokens[name]) for name in needs.names)
        entry = Entry(
            prepared.epoch, tagged, time.time() + life, 0.0, 0.0, needs.names, tokens, text
        )
        self._shared.breaker.attempt(self._shared.backend.replace, key, pack(entry), life)

    def delete(self, *keys: str) -> int:
        """Drop entries and return how many there were."""
        scope = self._scope()
        with noted("delete"):
            return self._drop([scoped(scope, key) for key in keys]) if keys else 0

    def delete_matching(self, pattern: str) -> int:
        """Drop the entries whose key matches a glob (``user:*``); return how many there were.

        Keys are scanned in batches, so no other client has to wait; the time grows with all
        keys of the server.
        """
        with noted("delete_matching"):
            self._shared.near.forget_all()
            matching = self._shared.backend.delete_matching
            return self._shared.breaker.attempt(matching, scoped(self._scope(), pattern)) or 0

    def invalidate(self, *depends_on: Any) -> None:
        """Drop at once what depends on these tables or column values.

        For writes that cannot be seen: those of other programs, and database procedures. Call
        it after their commit.

        :raises TypeError: nothing is named, or what is neither a table nor a column compared to a
            value.
        """
        if not depends_on:
            raise TypeError(
                "invalidate() names nothing, so it would drop nothing: name what has changed, as "
                'in invalidate(Document); delete_matching("*") drops all'
            )
        needs = declared(depends_on)
        values: dict[str, list[str]] = {table: [] for table, _ in needs.columns}
        tables = []
        for name in needs.names:
            table, _, column = name.partition(".")
            if not column:
                tables.append(table)
            elif column != "*":
                values[table].append(name)
        with noted("invalidate"):
            self._shared.invalidator.drop(
                tables, {table: tuple(names) for table, names in values.items()}
            )

    def _drop(self, keys: list[str]) -> int:
        for key in keys:
            self._shared.near.drop(key)
        return self._shared.breaker.attempt(self._shared.backend.delete, keys) or 0

    def _near_entry(self, key: str) -> NearEntry | None:
        entry = self._shared.near.get(key)
        if entry is None or writes.uncommitted(own_tables(entry.names)):
            return None
        return entry

    def _answer(self, asked: Request) -> tuple[Any, Way[Any] | None]:
        """Return the value that is kept, or the way to one."""
        names = asked.dependencies.names
        maker = self._shared.maker
        try:
            if writes.uncommitted(own_tables(names) if names or asked.declared else None):
                raise Unavailable
            started = perf_counter_ns()
            hit = self._shared.reader.read(
                asked.key, names, declared=asked.declared, near=asked.near, cache=asked.name
            )
            note("get_or_create" if asked.name == UNNAMED else asked.name, asked.key, started)
        except Unavailable:
            cache_stats.miss(asked.name)
            return None, maker.pass_by(asked)
        if hit is None or not asked.accepts(hit):
            cache_stats.miss(asked.name)
            self._warn_of_processes()
            return None, maker.make(asked)
        cache_stats.hit(asked.name)
        if asked.learn is not None and not set(hit.entry.names) <= set(names):
            asked.learn(hit.entry.names)
        if hit.is_due():
            return None, maker.refresh(asked, hit)
        run = running.get()
        if run is not None:
            run.include(hit.tokens)
        return hit.value, None

    def _warn_of_processes(self) -> None:
        if self._warned_of_processes or self._shared.backend.shared or not has_request_context():
            return
        self._warned_of_processes = True
        if request.environ.get("wsgi.multiprocess"):
            warn(
                "The cache lives in this process but the server runs several: each has its own "
                "and does not see the others' writes; set PERFKIT_REDIS_URL"
            )
