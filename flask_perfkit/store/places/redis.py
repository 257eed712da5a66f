"""Keeps a store in Redis, below a namespace; all of it expires when nobody writes any more."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from math import ceil
from typing import TYPE_CHECKING, Any, NamedTuple

from flask_perfkit.cache.stores.client import without_namespace
from flask_perfkit.errors import ExtraMissing, SettingsError
from flask_perfkit.store.buckets import buckets_at
from flask_perfkit.store.packing import Packed, plain, summary_of
from flask_perfkit.store.places.place import ALWAYS_KEPT, AVERAGE_SIZE, MOST_TEXTS, Known
from flask_perfkit.store.reading import Found, Period, RequestFilter, Summary
from flask_perfkit.store.tally import Batch
from flask_perfkit.store.totals import Totals, decoded

if TYPE_CHECKING:
    from redis.client import Pipeline

_TIMEOUT = 0.5  # seconds
_ATTEMPTS = 20
_LIFE = 14 * 86_400  # seconds
_MOST_OF_A_FINDING = 20
_CHUNK = 1_000
_WORTH = 1e11
"""More than any moment: profiles are in the order of their interest, then of their begin."""


class _Entry(NamedTuple):
    """What is kept beside the body of a profile."""

    summary: Summary
    finding_ids: tuple[str, ...]
    size: int


class RedisPlace:
    """A namespace of a Redis server.

    :param limit: profiles that are kept.
    :raises ExtraMissing: redis-py is not installed.
    :raises SettingsError: an option of the URL is none.
    """

    def __init__(self, url: str, limit: int) -> None:
        address, namespace = without_namespace(url)
        self._client = _client(address)
        self._limit = limit
        self._prefix = f"{namespace}:store:"

    def write(self, batch: Batch) -> None:
        """Add a batch in one transaction, again where another process came between."""
        from redis.exceptions import WatchError

        for _ in range(_ATTEMPTS):
            try:
                self._write(batch)
                break
            except WatchError:
                continue
        else:
            raise TimeoutError("other processes write all the time")
        if batch.profiles:
            self._forget_profiles()
        if batch.texts:
            self._forget_texts()

    def totals(self, names: Sequence[str]) -> list[bytes | None]:
        """Return the totals of buckets as they were encoded."""
        found: list[bytes | None] = []
        for begin in range(0, len(names), _CHUNK):
            some = names[begin : begin + _CHUNK]
            found += self._client.mget([self._key(f"totals:{name}") for name in some])
        return found

    def texts(self, names: Iterable[str]) -> dict[str, Known]:
        """Return what short names stand for."""
        wanted = list(names)
        if not wanted:
            return {}
        with self._client.pipeline(transaction=False) as pipe:
            pipe.hmget(self._key("texts"), wanted)
            pipe.zmscore(self._key("first"), wanted)
            pipe.zmscore(self._key("last"), wanted)
            rows = zip(wanted, *pipe.execute(), strict=True)
        return {
            name: Known(value.decode(), first or 0.0, last or 0.0)
            for name, value, first, last in rows
            if value is not None
        }

    def requests(
        self, period: Period, only: RequestFilter, limit: int, offset: int
    ) -> Found[Summary]:
        """Return the profiles that a filter lets through."""
        if only == RequestFilter():
            return self._latest(period, limit, offset)
        found = [
            entry.summary
            for entry in self._entries("started" if only.order == "latest" else "slowest")
            if _is_among(entry, period, only)
        ]
        return Found(found[offset : offset + limit], len(found))

    def profile(self, profile_id: str) -> bytes | None:
        """Return the body of a profile."""
        body: bytes | None = self._client.hget(self._key("bodies"), profile_id)
        return body

    def latest_with(self, finding_ids: Iterable[str]) -> dict[str, str]:
        """Return for each finding the id of the latest profile that has it."""
        wanted = list(finding_ids)
        with self._client.pipeline(transaction=False) as pipe:
            for finding in wanted:
                pipe.zrevrange(self._key(f"found:{finding}"), 0, 0)
            found = pipe.execute()
        return {finding: ids[0].decode() for finding, ids in zip(wanted, found, strict=True) if ids}

    def size(self) -> tuple[int, int]:
        """Return how many profiles are kept, and how many bytes they take."""
        with self._client.pipeline(transaction=False) as pipe:
            pipe.zcard(self._key("started"))
            pipe.get(self._key("size"))
            count, size = pipe.execute()
        return count, int(size or 0)

    def let_go(self) -> None:
        """Have nothing to give up: redis-py opens connections of its own in a child."""

    def _key(self, name: str) -> str:
        return self._prefix + name

    def _write(self, batch: Batch) -> None:
        written = [
            (self._key(f"totals:{bucket.name(sort)}"), bucket.expires, sort, totals)
            for bucket in buckets_at(batch.moment)
            for sort, totals in batch.totals.items()
            if totals
        ]
        with self._client.pipeline() as pipe:
            bodies: list[bytes | None] = []
            if written:
                names = [name for name, *_ in written]
                pipe.watch(*names)
                bodies = pipe.mget(names)
            pipe.multi()
            for (name, expires, sort, totals), body in zip(written, bodies, strict=True):
                merged = Totals(sort)
                if body is not None:
                    merged.merge(decoded(body))
                merged.merge(totals.items())
                pipe.set(name, merged.encode(), exat=expires)
            self._write_texts(pipe, batch)
            for packed in batch.profiles:
                self._write_profile(pipe, packed)
            pipe.execute()

    def _write_texts(self, pipe: Pipeline, batch: Batch) -> None:
        if not batch.texts:
            return
        moments = dict.fromkeys(batch.texts, batch.moment)
        pipe.hset(self._key("texts"), items=[*chain.from_iterable(batch.texts.items())])
        pipe.zadd(self._key("first"), moments, nx=True)
        pipe.zadd(self._key("last"), moments)
        self._prolong(pipe, "texts", "first", "last")

    def _write_profile(self, pipe: Pipeline, packed: Packed) -> None:
        each = packed.summary
        entry = json.dumps([plain(each), packed.finding_ids, len(packed.body)])
        pipe.hset(self._key("bodies"), each.id, packed.body)
        pipe.hset(self._key("summaries"), each.id, entry)
        pipe.zadd(self._key("started"), {each.id: each.started_at})
        pipe.zadd(self._key("slowest"), {each.id: each.duration})
        pipe.zadd(self._key("worth"), {each.id: packed.interest * _WORTH + each.started_at})
        pipe.incrby(self._key("size"), len(packed.body))
        for finding in packed.finding_ids:
            found = f"found:{finding}"
            pipe.zadd(self._key(found), {each.id: each.started_at})
            pipe.zremrangebyrank(self._key(found), 0, -_MOST_OF_A_FINDING - 1)
            self._prolong(pipe, found)
        self._prolong(pipe, "bodies", "summaries", "started", "slowest", "worth", "size")

    def _prolong(self, pipe: Pipeline, *names: str) -> None:
        for name in names:
            pipe.expire(self._key(name), _LIFE)

    def _forget_profiles(self) -> None:
        """Forget the profiles that are worth least, above the limits."""
        count, size = self.size()
        most, mean = self._limit * AVERAGE_SIZE, size / max(count, 1)
        excess = count - self._limit
        if size > most:
            excess = max(excess, ceil((size - most) / mean))
        if excess > 0:
            self._forget(excess)

    def _forget_texts(self) -> None:
        """Forget the texts that were not seen for the longest time, above the limit."""
        gone = self._client.zrange(self._key("last"), 0, -MOST_TEXTS - 1)
        if gone:
            with self._client.pipeline() as pipe:
                pipe.hdel(self._key("texts"), *gone)
                pipe.zrem(self._key("first"), *gone)
                pipe.zrem(self._key("last"), *gone)
                pipe.execute()

    def _forget(self, excess: int) -> None:
        latest = int(self._limit * ALWAYS_KEPT)
        stays = (
            set(self._client.zrevrange(self._key("started"), 0, latest - 1)) if latest else set()
        )
        worst = self._client.zrange(self._key("worth"), 0, excess + latest - 1)
        gone = [each for each in worst if each not in stays][:excess]
        entries = self._client.hmget(self._key("summaries"), gone) if gone else []
        with self._client.pipeline() as pipe:
            for profile_id in gone:
                pipe.hdel(self._key("bodies"), profile_id)
            was_there = pipe.execute()
        freed = 0
        with self._client.pipeline() as pipe:
            for profile_id, body, had in zip(gone, entries, was_there, strict=True):
                pipe.hdel(self._key("summaries"), profile_id)
                for name in ("started", "slowest", "worth"):
                    pipe.zrem(self._key(name), profile_id)
                if body is not None:
                    entry = _entry(body)
                    freed += entry.size * had
                    for finding in entry.finding_ids:
                        pipe.zrem(self._key(f"found:{finding}"), profile_id)
            pipe.decrby(self._key("size"), freed)
            pipe.execute()

    def _latest(self, period: Period, limit: int, offset: int) -> Found[Summary]:
        """Return profiles of a period, without a look at the others."""
        key = self._key("started")
        ids = self._client.zrevrangebyscore(
            key, period.until, period.since, start=offset, num=limit
        )
        total = self._client.zcount(key, period.since, period.until)
        return Found([entry.summary for entry in self._read(ids)], total)

    def _entries(self, order: str) -> Iterator[_Entry]:
        ids = self._client.zrevrange(self._key(order), 0, -1)
        for begin in range(0, len(ids), _CHUNK):
            yield from self._read(ids[begin : begin + _CHUNK])

    def _read(self, ids: Sequence[bytes]) -> Iterator[_Entry]:
        bodies = self._client.hmget(self._key("summaries"), ids) if ids else []
        return (_entry(body) for body in bodies if body is not None)


def _client(address: str) -> Any:
    try:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError as error:
        raise ExtraMissing("PERFKIT_STORAGE_URL", "redis") from error
    options = {
        "socket_timeout": _TIMEOUT,
        "socket_connect_timeout": _TIMEOUT,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }
    try:
        pool = redis.ConnectionPool.from_url(address, **options)
        pool.connection_class(**pool.connection_kwargs)
    except (TypeError, ValueError):
        # Its own words may quote a password that was not escaped.
        raise SettingsError(
            "PERFKIT_STORAGE_URL has an invalid port or option; in a password, write %3A "
            "for a colon, %2F for a slash and %40 for an at sign"
        ) from None
    return redis.Redis(connection_pool=pool)


def _entry(body: bytes) -> _Entry:
    summary, finding_ids, size = json.loads(body)
    return _Entry(summary_of(summary), tuple(finding_ids), size)


def _is_among(entry: _Entry, period: Period, only: RequestFilter) -> bool:
    each = entry.summary
    return (
        period.since <= each.started_at <= period.until
        and _is_found(only.search, each.path, each.route.name)
        and only.kind in (None, each.route.kind)
        and only.method in (None, each.route.method)
        and only.route in (None, each.route)
        and only.status in (None, each.status, (each.status or 0) // 100)
        and each.duration >= only.slower_than
        and (not only.with_findings or bool(each.findings))
        and (only.finding_id is None or only.finding_id in entry.finding_ids)
    )


def _is_found(part: str, *texts: str) -> bool:
    return any(part.lower() in text.lower() for text in texts)
