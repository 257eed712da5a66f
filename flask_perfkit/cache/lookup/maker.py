"""What a miss does: one creator runs for each key, and its value is stored.

It is stored under the tokens that were read before the creator ran.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from werkzeug.exceptions import HTTPException

from flask_perfkit.cache.entries.dependencies import Dependencies, own_tables
from flask_perfkit.cache.entries.entry import Entry, pack
from flask_perfkit.cache.entries.serializer import decode, encode
from flask_perfkit.cache.entries.texts import fresh
from flask_perfkit.cache.lookup.reader import Hit, Reader
from flask_perfkit.cache.lookup.steps import Acquire, Create, Pause, Way
from flask_perfkit.cache.process.locks import LOCK_SECONDS, KeyLock, KeyLocks
from flask_perfkit.cache.process.log import warn
from flask_perfkit.cache.reads.creators import (
    NOTHING_READ,
    CreatorRun,
    include,
    note_unseen,
    running,
)
from flask_perfkit.cache.reads.unseen import watch_unseen
from flask_perfkit.cache.stores.breaker import Breaker, Unavailable
from flask_perfkit.cache.stores.tokens import TOKEN_SECONDS, Backend, Prepared, SeenTokens
from flask_perfkit.cache.stores.unsent import Unsent
from flask_perfkit.cache.writes import following as writes
from flask_perfkit.cache.writes.invalidation import Invalidator

_FIRST_PAUSE = 0.005
_LONGEST_PAUSE = 0.05
_JITTER = 0.1
_MOST_WARNINGS = 100

UNNAMED = "default"
"""The name of a request that has none of its own."""


@dataclass(slots=True)
class Request:
    """One call of ``get_or_create``.

    ``dependencies`` are the declared ones, or else those that such creators were seen to have;
    then ``learn`` is told what this one has. ``near`` is for how many seconds the entry may be
    kept in this process too. ``stored`` is :attr:`Maker.stored` when the call began.
    ``is_whole`` says whether a value has the shape that the creator gives it; ``holds`` whether
    the key still means the same databases.
    """

    key: str
    creator: Callable[[], Any]
    name: str
    ttl: float
    stale: float
    dependencies: Dependencies
    near: float
    learn: Callable[[tuple[str, ...]], None] | None
    stored: int
    is_whole: Callable[[Any], bool] | None
    holds: Callable[[], bool]

    @property
    def declared(self) -> bool:
        return self.learn is None

    def accepts(self, hit: Hit) -> bool:
        """Say whether the value may be given out.

        One whose life is over is for those who take a stale one. One that has not the shape that
        is expected is of another release.
        """
        if self.stale <= 0 and hit.has_ended():
            return False
        return self.is_whole is None or bool(self.is_whole(hit.value))


class Maker:
    """Makes the values of one backend's entries.

    ``stored`` grows with each value that this process stores. Who missed one may come to its
    lock when it has been made and the lock is free again.
    """

    def __init__(
        self,
        backend: Backend,
        breaker: Breaker,
        unsent: Unsent,
        invalidator: Invalidator,
        seen_tokens: SeenTokens,
        reader: Reader,
    ) -> None:
        self._backend = backend
        self._breaker = breaker
        self._unsent = unsent
        self._invalidator = invalidator
        self._seen_tokens = seen_tokens
        self._reader = reader
        self._locks = KeyLocks()
        self.stored = 0
        self._warned: set[tuple[str, str]] = set()

    def pass_by(self, request: Request) -> Way[Any]:
        """Run the creator and keep nothing."""
        return plain((yield Create(request.creator)))

    def make(self, request: Request) -> Way[Any]:
        """Run the creator, unless another thread, task or process makes the value meanwhile."""
        around = running.get()
        if around is not None and around.makes(request.key):
            return (yield from self.pass_by(request))
        with self._locks.of(request.key) as lock:
            at_once = lock.acquire(0)
            got = at_once or (yield Acquire(lock, LOCK_SECONDS))
            try:
                if not at_once or self.stored != request.stored:
                    hit = self._look(request)
                    if hit is not None:
                        return hit.value
                if got and (at_once or not lock.fruitless):
                    lock.fruitless = True
                    made = yield from self._make_alone(request, lock)
                    if made is not None:
                        return made[0]
            finally:
                if got:
                    lock.release()
        return (yield from self._create(request, self._prepare(request, None), None))[0]

    def refresh(self, request: Request, hit: Hit) -> Way[Any]:
        """Make a value anew before its end, if nobody else does; return the best there is.

        Where the source fails, that is the good value that is there.
        """
        with self._locks.of(request.key) as lock:
            if lock.acquire(0):
                try:
                    owner = fresh()
                    prepared = self._prepare(request, owner)
                    if prepared is not None and prepared.locked:
                        return (yield from self._create(request, prepared, owner))[0]
                except Exception as error:
                    if not _is_failure(error):
                        raise
                    self._say_failed(request, error)
                finally:
                    lock.release()
        include(hit.tokens)
        return hit.value

    def _look(self, request: Request) -> Hit | None:
        """Read the entry; None is a miss, or a backend that does not answer."""
        try:
            hit = self._reader.read(
                request.key,
                request.dependencies.names,
                declared=request.declared,
                near=request.near,
            )
        except Unavailable:
            return None
        if hit is not None:
            if not request.accepts(hit):
                return None
            include(hit.tokens)
        return hit

    def _make_alone(self, request: Request, lock: KeyLock) -> Way[tuple[Any] | None]:
        """Run the creator when no other process does, or has for as long as a lock lasts.

        None: the value could not be stored just now, so nobody should wait for it.
        """
        owner = fresh()
        pause = _FIRST_PAUSE
        give_up = time.monotonic() + LOCK_SECONDS
        while True:
            prepared = self._prepare(request, owner)
            if prepared is None:
                return None
            if request.declared and None in prepared.tokens.values():
                if prepared.locked:
                    self._unlock(request.key, owner)
                return None
            if prepared.stored and (hit := self._look(request)) is not None:
                self._unlock(request.key, owner)
                return (hit.value,)
            if prepared.locked or time.monotonic() >= give_up:
                value, stored = yield from self._create(request, prepared, owner)
                lock.fruitless = not stored
                return (value,)
            yield Pause(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            hit = self._look(request)
            if hit is not None:
                lock.fruitless = False
                return (hit.value,)

    def _prepare(self, request: Request, owner: str | None) -> Prepared | None:
        lock = (request.key, owner, LOCK_SECONDS) if owner is not None else None
        dependencies = request.dependencies
        life = max(TOKEN_SECONDS, 2 * (request.ttl + request.stale))
        prepared = self._breaker.attempt(
            self._backend.prepare, dependencies.names, dependencies.columns, life, lock
        )
        if prepared is not None:
            self._seen_tokens.note((*prepared.tokens.items(), *prepared.tables.items()))
            self._invalidator.learn_moves(prepared.moves)
        elif owner is not None:
            self._unlock(request.key, owner)
        return prepared

    def _create(
        self, request: Request, prepared: Prepared | None, owner: str | None
    ) -> Way[tuple[Any, bool]]:
        """Run the creator and store what it returned if that may be; say whether it was."""
        tokens = prepared.tokens if prepared is not None else {}
        learning = None if request.declared else self._fetch_tokens
        run = CreatorRun(request.key, tokens, learning, running.get())
        holder = owner if prepared is not None and prepared.locked else None
        stored = False
        try:
            started = time.perf_counter()
            result = yield from _run(request.creator, run)
            cost = time.perf_counter() - started
            text, tagged = encode(result)
            names = self._names(request, run)
            if prepared is not None and self._may_store(request, prepared, run, names):
                kept = tuple(str(run.tokens[name]) for name in names)
                until = time.time() + request.ttl
                self._store(
                    request,
                    Entry(prepared.epoch, tagged, until, request.stale, cost, names, kept, text),
                    holder,
                )
                stored = True
                self.stored += 1
        finally:
            if holder is not None and not stored:
                self._unlock(request.key, holder)
        include({name: run.tokens.get(name) for name in names})
        return decode(text, tagged), stored

    def _names(self, request: Request, run: CreatorRun) -> tuple[str, ...]:
        """Name the tokens of the value, and tell those that were learned."""
        if request.learn is None:
            return request.dependencies.names
        names = tuple(sorted(run.learned))
        request.learn(names)
        return names

    def _may_store(
        self,
        request: Request,
        prepared: Prepared,
        run: CreatorRun,
        names: tuple[str, ...],
    ) -> bool:
        if run.untold is None and request.learn is not None and not names:
            run.tell_not(NOTHING_READ)
        if run.untold is not None:
            self._say(request, run.untold)
            return False
        if run.refusal is not None or self._backend.epoch != prepared.epoch or not request.holds():
            return False
        if writes.uncommitted(own_tables(names)):
            return False
        for name in names:
            token = run.tokens.get(name)
            if token is None:
                return False
            since = self._seen_tokens.since(name, token)
            for table in own_tables((name,)) & prepared.tables.keys():
                since = min(since, self._seen_tokens.since(table, prepared.tables[table]))
            if since > run.snapshot:
                return False
        return True

    def _fetch_tokens(self, names: list[str]) -> Mapping[str, str | None]:
        """Make or fetch the tokens of tables that a creator is about to read."""
        prepared = self._breaker.attempt(self._backend.prepare, names, (), TOKEN_SECONDS, None)
        tokens = prepared.tokens if prepared is not None else dict.fromkeys(names)
        self._seen_tokens.note(tokens.items())
        return tokens

    def _unlock(self, key: str, owner: str) -> None:
        try:
            self._breaker.call(self._backend.unlock, key, owner)
        except Unavailable:
            self._unsent.add_lock(key, owner)

    def _store(self, request: Request, entry: Entry, holder: str | None) -> None:
        life = request.ttl * random.uniform(1 - _JITTER, 1) + request.stale
        self._breaker.attempt(self._backend.store, request.key, pack(entry), life, holder)

    def _say(self, request: Request, why: str) -> None:
        self._warn_once(request, "%.200s is not cached: %s", why)

    def _say_failed(self, request: Request, error: Exception) -> None:
        self._warn_once(
            request,
            "%.200s could not be made again (%s): its last good value is served, as long as stale= "
            "allows",
            type(error).__name__,
        )

    def _warn_once(self, request: Request, message: str, detail: str) -> None:
        name = f"The key {request.key!r}" if request.name == UNNAMED else request.name
        if (name, detail) not in self._warned and len(self._warned) < _MOST_WARNINGS:
            self._warned.add((name, detail))
            warn(message, name, detail)


class NotKept(Exception):
    """Raised by a creator to carry its result past the cache; ``failed``: it is none."""

    failed = False


def _is_failure(error: Exception) -> bool:
    """Say whether a source failed, not the question: an answer of 404 is one."""
    if isinstance(error, NotKept):
        return error.failed
    return not isinstance(error, HTTPException) or (error.code or 500) >= 500


def plain(value: Any) -> Any:
    """Return the value as a cache would: the same types on a miss as on a hit.

    :raises NotCacheable: it cannot be written as JSON.
    """
    return decode(*encode(value))


def _run(creator: Callable[[], Any], run: CreatorRun) -> Way[Any]:
    token = running.set(run)
    try:
        with run.held.watch(), watch_unseen(note_unseen):
            return (yield Create(creator))
    finally:
        running.reset(token)
        run.finish()
