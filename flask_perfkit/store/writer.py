"""Takes what requests leave behind and writes it, in a thread of its own.

A request appends to a queue and goes on. The thread wakes up every other second, counts what is
there and writes it as one batch. What cannot be written is lost, which is said once: no request
waits for it or hears of it.
"""

from __future__ import annotations

import atexit
import logging
import os
from collections import OrderedDict, deque
from collections.abc import Callable
from math import inf
from threading import Event, Thread
from time import time
from typing import TYPE_CHECKING, Any
from weakref import WeakMethod, WeakSet, ref

from flask_perfkit.cache.process.fork import Lock
from flask_perfkit.faults import log_once
from flask_perfkit.recording.profile import Profile
from flask_perfkit.recording.recorder import unrecorded
from flask_perfkit.store.identity import finding_id
from flask_perfkit.store.keeping import Keeper
from flask_perfkit.store.packing import packed, route_of
from flask_perfkit.store.tally import Passed, Tally

if TYPE_CHECKING:
    from flask_perfkit.recording.findings import Finding
    from flask_perfkit.store.looks import Looks
    from flask_perfkit.store.places.place import Place

logger = logging.getLogger("flask_perfkit")

INTERVAL = 2.0
"""Seconds between two writes."""

_MOST_PASSED = 10_000
_MOST_PROFILES = 300
_MANY_PROFILES = 100
_MOST_PACKED = 200
_MOST_LIVING = 300
_LONGEST_BEFORE_FORK = 1.0
_LONGEST_WAIT = 3.0
_NANOSECONDS = 1e9

Parked = Profile | Callable[[], Profile]
"""A profile, or what makes one: a request that was let go is looked at in the thread."""

_writers: WeakSet[Writer] = WeakSet()


class Writer:
    """Writes what happens in this process to a place that others may share.

    ``passed`` takes requests that were let go, the fields of :class:`Passed` of each.
    ``keep_from`` says by endpoint from how many nanoseconds on one of them is parked instead; an
    endpoint that is missing is not known yet.

    :param name: how the place is called in the log; no password in it.
    :param looks: looks, at each write, at what nobody tells.
    """

    def __init__(
        self, place: Place, tally: Tally, keeper: Keeper, name: str, looks: Looks | None = None
    ) -> None:
        self.passed: deque[tuple[Any, ...]] = deque(maxlen=_MOST_PASSED)
        self.keep_from: dict[str, float] = {}
        self.lost = 0
        self._place = place
        self._tally = tally
        self._keeper = keeper
        self._name = name
        self._looks = looks
        self._parked: deque[Parked] = deque()
        self._living: OrderedDict[str, Finding] = OrderedDict()
        self._lock = Lock()
        self._starting = Lock()
        self._wake = Event()
        self._is_running = False
        self._is_over = False
        self._is_held = False
        self._has_job = False
        self._said_full = False
        _writers.add(self)

    def park(self, parked: Parked, *, at_once: bool = False) -> None:
        """Take a profile, or what makes one; it is written soon.

        :param at_once: it is a job's. The first one of a process is written before this returns,
            as a worker that was forked for one job ends without a word when it is done.
        """
        if len(self._parked) >= _MOST_PROFILES:
            self.lost += 1
            self._say_full()
            return
        self._parked.append(parked)
        self.run()
        if at_once and not self._has_job:
            self._has_job = True
            self._flush_in_time()
        elif at_once or len(self._parked) == _MANY_PROFILES:
            self._wake.set()

    def run(self) -> None:
        """See to it that what is there will be written."""
        if self._is_over:
            self.flush()
        elif not self._is_running:
            self._start()

    def living(self, name: str) -> Finding | None:
        """Return a finding as it was found last in this process."""
        return self._living.get(name)

    def flush(self) -> None:
        """Write what is there, if anything came; whatever goes wrong is told once."""
        if not (self._is_running or self.passed or self._parked):
            return
        with self._lock, unrecorded():
            try:
                self._write()
            except Exception:
                log_once(f"writing to {self._name}, where profiles are stored,")

    def stop(self) -> None:
        """Write what is there, and end the thread for good."""
        self._is_over = True
        self._wake.set()
        self.flush()
        if self._looks is not None:
            self._looks.close()

    def _start(self) -> None:
        with self._starting:
            if self._is_running:
                return
            self._is_running = True
            atexit.register(_say_goodbye, WeakMethod(self._goodbye))
            arguments = (ref(self), self._wake)
            Thread(target=_run, args=arguments, name="perfkit-store", daemon=True).start()

    def _goodbye(self) -> None:
        """Write what is left when the process ends."""
        self._is_over = True
        self._flush_in_time()

    def _flush_in_time(self) -> None:
        """Write what is there, and wait for it no longer than is bearable."""
        last = Thread(target=self.flush, name="perfkit-store-last", daemon=True)
        try:
            last.start()
        except RuntimeError:  # some Pythons start no thread any more
            self.flush()
        else:
            last.join(_LONGEST_WAIT)

    def _say_full(self) -> None:
        if not self._said_full:
            self._said_full = True
            logger.warning(
                "PerfKit does not store everything (logged once): more comes in than its thread "
                "can write, or no thread runs; uWSGI needs --enable-threads"
            )

    def _write(self) -> None:
        now = time()
        self._count_passed(now)
        self._count_parked(now)
        if self._looks is not None:
            self._looks(self._tally)
        batch = self._tally.taken(now)
        if not batch:
            return
        try:
            self._place.write(batch)
        except Exception:
            self.lost += len(batch.profiles)
            raise

    def _count_passed(self, now: float) -> None:
        endpoints = {}
        if len(self.passed) == _MOST_PASSED:
            self._say_full()
        for _ in range(len(self.passed)):
            passed = Passed(*self.passed.popleft())
            try:
                key = self._tally.count_passed(passed)
            except Exception:
                log_once("counting a request for the store")
            else:
                if passed.rule is not None and key is not None:
                    endpoints[passed.rule.endpoint] = key
        for endpoint, key in endpoints.items():
            self.keep_from[endpoint] = self._keeper.threshold(key, now) * _NANOSECONDS

    def _count_parked(self, now: float) -> None:
        for _ in range(len(self._parked)):
            parked = self._parked.popleft()
            try:
                profile = parked if isinstance(parked, Profile) else parked()
                self._count_profile(profile, now)
            except Exception:
                log_once("storing a profile")

    def _count_profile(self, profile: Profile, now: float) -> None:
        if profile.endpoint is not None and self._tally.excludes(profile.endpoint):
            self.keep_from[profile.endpoint] = inf
            return
        self._tally.count_profile(profile)
        for finding in (*profile.findings, *profile.allowed):
            name = finding_id(finding)
            self._living[name] = finding
            self._living.move_to_end(name)
            if len(self._living) > _MOST_LIVING:
                self._living.popitem(last=False)
        route = route_of(profile)
        interest = self._keeper.interest(profile, route, now)
        profiles = self._tally.batch.profiles
        if interest is not None and len(profiles) < _MOST_PACKED:
            profiles.append(packed(profile, interest))
        if profile.status is not None and profile.endpoint is not None:
            self.keep_from[profile.endpoint] = self._keeper.threshold(route, now) * _NANOSECONDS

    def _before_fork(self) -> None:
        """Have nothing half done when the process is copied."""
        self._is_held = self._lock.acquire(_LONGEST_BEFORE_FORK)
        if self._is_held:
            self._place.let_go()

    def _after_fork(self) -> None:
        if self._is_held:
            self._lock.release()

    def _in_child(self) -> None:
        """Begin anew: what waits is the parent's to write, and the thread is not here."""
        self.passed.clear()
        self.keep_from.clear()
        self._parked.clear()
        self._tally.taken(0.0)
        self._wake = Event()
        self._is_running = self._is_over = self._has_job = False
        self.lost = 0


def _run(reference: ref[Writer], wake: Event) -> None:
    """Write every other second, for as long as the writer lives."""
    while True:
        wake.wait(INTERVAL)
        writer = reference()
        if writer is None or writer._is_over or writer._wake is not wake:
            return
        wake.clear()
        writer.flush()
        del writer


def _say_goodbye(goodbye: WeakMethod[Callable[[], None]]) -> None:
    method = goodbye()
    if method is not None:
        method()


def _each(method: Callable[[Writer], None]) -> Callable[[], None]:
    def call() -> None:
        for writer in list(_writers):
            try:
                method(writer)
            except Exception:
                log_once("forking")

    return call


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_each(Writer._before_fork),
        after_in_parent=_each(Writer._after_fork),
        after_in_child=_each(Writer._in_child),
    )
