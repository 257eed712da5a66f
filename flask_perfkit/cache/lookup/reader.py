"""The reader's side of the protocol: fetch an entry with its tokens, tell whether it is good."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flask_perfkit.cache.entries.entry import Entry, unpack
from flask_perfkit.cache.entries.serializer import decode
from flask_perfkit.cache.process.log import warn
from flask_perfkit.cache.stats import cache_stats
from flask_perfkit.cache.stores.breaker import Breaker
from flask_perfkit.cache.stores.near import Near, NearEntry
from flask_perfkit.cache.stores.tokens import Backend, SeenTokens

_MOST_LUCK = 37.0
"""More than the logarithm of any random number can be."""


@dataclass(slots=True)
class Hit:
    """A good entry, decoded, with the tokens that it was stored under."""

    value: Any
    entry: Entry

    def has_ended(self) -> bool:
        """Say whether its life is over and it is there only for ``stale``.

        Without that the server drops it in time; an end that lies behind only shows that
        this machine's clock and the storing one's differ.
        """
        return self.entry.stale > 0 and self.entry.expires <= time.time()

    def is_due(self) -> bool:
        """Say whether this reader should make it anew, though it may still be given out.

        The nearer the end and the longer the creator takes, the likelier (XFetch: Vattani,
        Chierichetti, Lowenstein, "Optimal Probabilistic Cache Stampede Prevention", VLDB 2015).
        """
        left = self.entry.expires - time.time()
        if left <= 0:
            return self.entry.stale > 0
        if left > self.entry.cost * _MOST_LUCK:
            return False
        return -self.entry.cost * math.log(1 - random.random()) >= left

    @property
    def tokens(self) -> dict[str, str]:
        return dict(zip(self.entry.names, self.entry.tokens, strict=True))


class Reader:
    """Reads entries of one backend."""

    def __init__(
        self, backend: Backend, breaker: Breaker, seen_tokens: SeenTokens, near: Near
    ) -> None:
        self._backend = backend
        self._breaker = breaker
        self._seen_tokens = seen_tokens
        self._near = near
        self._complained = False

    def read(
        self,
        key: str,
        names: tuple[str, ...],
        *,
        declared: bool,
        near: float,
        cache: str | None = None,
    ) -> Hit | None:
        """Fetch the entry and compare its tokens; None is a miss.

        :param names: the tokens that it is likely to have; when ``declared``, exactly those.
        :param near: keep it in this process too, for so many seconds.
        :param cache: the name under which it is counted what dropped the entry; None counts not.
        :raises Unavailable: the backend does not answer.
        """
        version = self._near.version
        epoch, (payload,), found = self._breaker.read(self._fetch, (key,), names)
        self._seen_tokens.note(zip(names, found, strict=True))
        entry = self._unpacked(payload)
        if entry is None or entry.epoch != epoch or self._backend.epoch != epoch:
            return None
        if entry.names != names:
            if declared:
                return None
            current = dict(zip(names, found, strict=True))
            self._complete(current, [entry])
            found = [current[name] for name in entry.names]
        if entry.tokens != tuple(found):
            if cache is not None:
                _count_drop(cache, entry, found)
            return None
        hit = self._decoded(entry)
        if hit is not None and near:
            self._keep_near(key, entry, near, version)
        return hit

    def read_many(self, keys: Sequence[str]) -> dict[str, Hit]:
        """Fetch entries in two trips, one for the payloads and one for all their tokens.

        :raises Unavailable: the backend does not answer.
        """
        epoch, payloads, _ = self._breaker.read(self._fetch, keys, ())
        entries = {
            key: entry
            for key, payload in zip(keys, payloads, strict=True)
            if (entry := self._unpacked(payload)) is not None
        }
        current: dict[str, str | None] = {}
        self._complete(current, list(entries.values()))
        hits = {
            key: self._decoded(entry)
            for key, entry in entries.items()
            if entry.epoch == epoch == self._backend.epoch
            and entry.tokens == tuple([current[name] for name in entry.names])
        }
        return {key: hit for key, hit in hits.items() if hit is not None}

    def _fetch(
        self, keys: Sequence[str], names: Sequence[str]
    ) -> tuple[str, list[bytes | None], list[str | None]]:
        epoch = self._backend.ask_epoch()
        return epoch, *self._backend.read(keys, names)

    def _complete(self, current: dict[str, str | None], entries: list[Entry]) -> None:
        """Fetch the tokens that the entries have beyond those at hand."""
        missing = list(
            dict.fromkeys(name for entry in entries for name in entry.names if name not in current)
        )
        if missing:
            _, found = self._breaker.read(self._backend.read, (), missing)
            current.update(zip(missing, found, strict=True))
            self._seen_tokens.note(current.items())

    def _unpacked(self, payload: bytes | None) -> Entry | None:
        if payload is None:
            return None
        entry = unpack(payload)
        if entry is None:
            self._complain("an entry of another format")
        return entry

    def _decoded(self, entry: Entry) -> Hit | None:
        try:
            return Hit(decode(entry.text, entry.tagged), entry)
        except Exception:  # bytes that anybody may have put there
            self._complain("an entry that is no JSON")
            return None

    def _complain(self, what: str) -> None:
        if not self._complained:
            self._complained = True
            warn("The cache holds %s; the value is made again", what)

    def _keep_near(self, key: str, entry: Entry, longest: float, version: int) -> None:
        left = min(longest, entry.expires - time.time())
        if left > 0:
            until = time.monotonic() + left
            kept = NearEntry(entry.names, entry.tokens, entry.text, entry.tagged, until)
            self._near.keep(key, kept, version)


def _count_drop(cache: str, entry: Entry, current: Sequence[str | None]) -> None:
    """Count which table has changed since an entry was stored; a token of one value names it."""
    tokens = zip(entry.names, entry.tokens, current, strict=True)
    changed = next(name for name, stored, now in tokens if stored != now)
    cache_stats.drop(cache, changed.partition(".")[0])
