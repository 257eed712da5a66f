"""Stop asking a backend that does not answer, and find out in the background when it does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar
from weakref import ref

from flask_perfkit.cache.process.fork import Lock, call_after_fork
from flask_perfkit.cache.process.log import warn

SLOW_SECONDS = 0.1
"""A trip that takes longer is slow; those of a healthy server take a hundredth of it."""

_SLOW_READS = 5
_FIRST_DELAY = 0.1
_LONGEST_DELAY = 5.0
_URGENT_DELAY = 0.2
_OTHERS_SECONDS = 1.0
"""Longer than a process with urgent news takes between two attempts, with their timeouts."""

T = TypeVar("T")


class Unavailable(Exception):
    """The backend does not answer, or did not a moment ago: go to the source."""


class AllInUse(Exception):
    """The process has as many connections as it may have, and uses all: no fault of the server."""


class Breaker:
    """Opens at the first failure; from then on no request waits for the backend.

    While the backend answers, but slowly, only reads pass it by: commits still mark what they
    change, as other processes may read. A thread that lives only as long as either tries
    again, at growing intervals, so that no request pays for the attempt.

    When a server answers again that was not restarted, other processes may still have commits to
    tell it of that they made meanwhile. They try several times a second, and reads pass it by for
    longer than that.

    :param recover: one attempt; raises while the backend is not usable.
    :param is_urgent: says whether commits wait to be told.
    :param epoch: names the run of the server; entries of another run are not believed anyway.
    """

    def __init__(
        self, recover: Callable[[], None], is_urgent: Callable[[], bool], epoch: Callable[[], str]
    ) -> None:
        self.open = False
        self._is_urgent = is_urgent
        self._epoch = epoch
        self._epoch_before = ""
        self._reads_from = 0.0
        self._slow = False
        self._slow_reads = 0
        self._looking = False
        self._recover = recover
        self._lock = Lock()
        self._complained: set[str] = set()
        call_after_fork(self._after_fork)

    def call(self, operation: Callable[..., T], *arguments: object) -> T:
        """Call the operation; whatever it raises opens the breaker.

        :raises Unavailable: the breaker is open, or has just been opened.
        """
        if self.open:
            raise Unavailable
        try:
            return operation(*arguments)
        except AllInUse as error:
            raise Unavailable from error
        except Exception as error:
            self.trip(error)
            raise Unavailable from error

    def insist(self, operation: Callable[..., T], *arguments: object) -> T:
        """Call the operation even while the breaker is open, and once more if it fails.

        For what must not be missed: other processes may have found the server again long before
        this one, and a connection that was open before its restart is not good any more.

        :raises Unavailable: the backend does not answer.
        """
        was_open = self.open
        try:
            result = _twice(operation, arguments)
        except Exception as error:
            if not isinstance(error, AllInUse):
                self.trip(error)
            raise Unavailable from error
        if was_open:
            self.try_again()
        return result

    def read(self, operation: Callable[..., T], *arguments: object) -> T:
        """Call the operation as :meth:`call` does, unless the backend has become slow.

        :raises Unavailable: the breaker is open, or the backend slow.
        """
        if self._slow or (self._reads_from and time.monotonic() < self._reads_from):
            raise Unavailable
        started = time.monotonic()
        result = self.call(operation, *arguments)
        seconds = time.monotonic() - started
        if seconds < SLOW_SECONDS:
            self._slow_reads = 0
        else:
            self._slow_reads += 1
            if self._slow_reads == _SLOW_READS:
                self._pass_by(seconds)
        return result

    def attempt(self, operation: Callable[..., T], *arguments: object) -> T | None:
        """Call the operation; what the server refuses is logged once and makes None.

        For writes: a server that is full or read-only still answers reads.
        """
        if self.open:
            return None
        try:
            return operation(*arguments)
        except AllInUse:
            return None
        except Exception as error:
            if refused(error):
                self.complain(error)
            else:
                self.trip(error)
            return None

    def trip(self, error: BaseException) -> None:
        """Open, say so once, and start looking for the backend's return."""
        epoch = ""
        with suppress(Exception):  # a cluster that was never there has none, and says so by raising
            epoch = self._epoch()
        with self._lock:
            if self.open:
                return
            self.open = True
            self._epoch_before = epoch
            warn(
                "The cache's server is not usable (%s): values come from their source until it is",
                _described(error),
            )
            self._start()

    def _pass_by(self, seconds: float) -> None:
        with self._lock:
            self._slow = True
            warn(
                "The cache's server is slow (%.2f s a trip): values come from their source until "
                "it is faster",
                seconds,
            )
            self._start()

    def complain(self, error: BaseException) -> None:
        """Log a refusal, once for each kind."""
        kind = type(error).__name__
        if kind not in self._complained:
            self._complained.add(kind)
            warn(
                "The cache's server refuses to store (%s): values come from their source",
                _described(error),
            )

    def try_again(self) -> bool:
        """Close if the backend is usable, and say whether it is."""
        started = time.monotonic()
        try:
            self._recover()
        except Exception:
            return False
        if time.monotonic() - started > SLOW_SECONDS:
            return False
        with self._lock:
            was_given_up = self.open or self._slow
            if self.open and self._epoch() == self._epoch_before:
                self._reads_from = time.monotonic() + _OTHERS_SECONDS
            self.open = self._slow = self._looking = False
            self._slow_reads = 0
        if was_given_up:
            warn("The cache's server is usable again")
        return True

    def longest_delay(self) -> float:
        """Return how many seconds may pass between two attempts."""
        return _URGENT_DELAY if self._is_urgent() else _LONGEST_DELAY

    def _start(self) -> None:
        if not self._looking:
            thread = threading.Thread(
                target=_look, args=(ref(self),), name="perfkit-cache-recovery", daemon=True
            )
            with suppress(RuntimeError):  # the interpreter is about to end
                thread.start()
                self._looking = True

    def _after_fork(self) -> None:
        self._looking = False
        if self.open or self._slow:
            self._start()


def _look(breaker: ref[Breaker]) -> None:
    """Try again, ever more seldom, until it works or nobody uses the cache any more."""
    delay = _FIRST_DELAY
    while True:
        time.sleep(delay)
        found = breaker()
        if found is None or found.try_again():
            return
        delay = min(2 * delay, found.longest_delay())
        del found


def _twice(operation: Callable[..., T], arguments: tuple[object, ...]) -> T:
    try:
        return operation(*arguments)
    except Exception as error:
        if refused(error) or isinstance(error, AllInUse) or "Timeout" in type(error).__name__:
            raise
        return operation(*arguments)


def refused(error: BaseException) -> bool:
    """Say whether the server answered, but with a refusal."""
    return any(kind.__name__ == "ResponseError" for kind in type(error).__mro__)


def _described(error: BaseException) -> str:
    words = str(error).rpartition(" caused error: ")[2]  # before it a pipeline quotes its command
    return f"{type(error).__name__}: {words[:200]}"
