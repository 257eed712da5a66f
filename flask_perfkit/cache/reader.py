"""The reader's side of the protocol: fetch an entry with its tokens, tell whether it is good."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask_perfkit.cache.breaker import Breaker
from flask_perfkit.cache.entry import Entry, unpack
from flask_perfkit.cache.log import warn
from flask_perfkit.cache.near import Near, NearEntry
from flask_perfkit.cache.serializer import decode
from flask_perfkit.cache.tokens import Backend, Sightings


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
        return -self.entry.cost * math.log(1 - random.random()) >= left

    @property
    def tokens(self) -> dict[str, str]:
        return dict(zip(self.entry.names, self.entry.tokens, strict=True))


class Reader:
    """Reads entries of one backend."""

    def __init__(
        self, backend: Backend, breaker: Breaker, sightings: Sightings, near: Near
    ) -> None:
        self._backend = backend
        self._breaker = breaker
        self._sightings = sightings
        self._near = near
        self._complained = False

    def read(self, key: str, names: tuple[str, ...], *, declared: bool, near: bool) -> Hit | None:
        """Fetch the entry and compare its tokens; None is a miss.

        :param names: the tokens that it is likely to have; when ``declared``, exactly those.
        :param near: keep it near if it is good.
        :raises Unavailable: the backend does not answer.
        """
        version = self._near.version
        epoch, (payload,), found = self._breaker.call(self._fetch, (key,), names)
        current = dict(zip(names, found, strict=True))
        self._sightings.note(current)
        if payload is None:
            return None
        entry = self._unpacked(payload)
        if entry is None or (declared and entry.names != names):
            return None
        self._complete(current, [entry])
        if not self._is_good(entry, current, epoch):
            return None
        hit = self._decoded(entry)
        if hit is not None and near:
            self._keep_near(key, entry, version)
        return hit

    def read_many(self, keys: Sequence[str]) -> dict[str, Hit]:
        """Fetch entries in two trips, one for the payloads and one for all their tokens.

        :raises Unavailable: the backend does not answer.
        """
        epoch, payloads, _ = self._breaker.call(self._fetch, keys, ())
        entries = {
            key: entry
            for key, payload in zip(keys, payloads, strict=True)
            if payload is not None and (entry := self._unpacked(payload)) is not None
        }
        current: dict[str, str | None] = {}
        self._complete(current, list(entries.values()))
        hits = {
            key: self._decoded(entry)
            for key, entry in entries.items()
            if self._is_good(entry, current, epoch)
        }
        return {key: hit for key, hit in hits.items() if hit is not None}

    def epoch(self) -> str:
        """Name the server's run.

        :raises Unavailable: the backend does not answer.
        """
        return self._breaker.call(self._current_epoch)

    def _fetch(
        self, keys: Sequence[str], names: Sequence[str]
    ) -> tuple[str, list[bytes | None], list[str | None]]:
        epoch = self._current_epoch()
        return epoch, *self._backend.read(keys, names)

    def _current_epoch(self) -> str:
        if not self._backend.epoch:
            self._backend.ping()
        return self._backend.epoch

    def _complete(self, current: dict[str, str | None], entries: list[Entry]) -> None:
        """Fetch the tokens that the entries have beyond those at hand."""
        missing = list(
            dict.fromkeys(name for entry in entries for name in entry.names if name not in current)
        )
        if missing:
            _, found = self._breaker.call(self._backend.read, (), missing)
            fetched = dict(zip(missing, found, strict=True))
            self._sightings.note(fetched)
            current.update(fetched)

    def _is_good(self, entry: Entry, current: Mapping[str, str | None], epoch: str) -> bool:
        if entry.epoch != epoch or self._backend.epoch != epoch:
            return False
        return entry.tokens == tuple([current[name] for name in entry.names])

    def _unpacked(self, payload: bytes) -> Entry | None:
        entry = unpack(payload)
        if entry is None:
            self._complain("an entry of another format")
        return entry

    def _decoded(self, entry: Entry) -> Hit | None:
        try:
            return Hit(decode(entry.text, entry.tagged), entry)
        except (ValueError, RecursionError):
            self._complain("an entry that is no JSON")
            return None

    def _complain(self, what: str) -> None:
        if not self._complained:
            self._complained = True
            warn("The cache holds %s; it is made anew", what)

    def _keep_near(self, key: str, entry: Entry, version: int) -> None:
        left = entry.expires - time.time()
        if left > 0:
            self._near.keep(
                key,
                NearEntry(
                    entry.names, entry.tokens, entry.text, entry.tagged, time.monotonic() + left
                ),
                version,
            )
