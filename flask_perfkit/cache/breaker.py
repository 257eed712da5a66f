"""Stop asking a backend that does not answer, and find out in the background when it does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar
from weakref import ref

from flask_perfkit.cache.fork import call_after_fork
from flask_perfkit.cache.log import warn

_FIRST_DELAY = 0.1
_LONGEST_DELAY = 5.0

T = TypeVar("T")


class Unavailable(Exception):
    """The backend does not answer, or did not a moment ago: go to the source."""


class Breaker:
    """Opens at the first failure; from then on no request waits for the backend.

    A thread that lives only while it is open tries again, at growing intervals, so that no
    request pays for the attempt either.

    :param recover: one attempt; raises while the backend is not usable.
    """

    def __init__(self, recover: Callable[[], None]) -> None:
        self.open = False
        self._recover = recover
        self._lock = threading.Lock()
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
        except Exception as error:
            self.trip(error)
            raise Unavailable from error

    def attempt(self, operation: Callable[..., T], *arguments: object) -> T | None:
        """Call the operation; what the server refuses is logged once and makes None.

        For writes: a server that is full or read-only still answers reads.
        """
        if self.open:
            return None
        try:
            return operation(*arguments)
        except Exception as error:
            if refused(error):
                self.complain(error)
            else:
                self.trip(error)
            return None

    def trip(self, error: BaseException) -> None:
        """Open, say so once, and start looking for the backend's return."""
        with self._lock:
            if self.open:
                return
            self.open = True
            warn(
                "The cache's server is not usable (%s): values come from their source until it is",
                _described(error),
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
        try:
            self._recover()
        except Exception:
            return False
        with self._lock:
            self.open = False
        warn("The cache's server is usable again")
        return True

    def _start(self) -> None:
        threading.Thread(
            target=_look, args=(ref(self),), name="perfkit-cache-recovery", daemon=True
        ).start()

    def _after_fork(self) -> None:
        self._lock = threading.Lock()
        if self.open:
            self._start()


def _look(breaker: ref[Breaker]) -> None:
    """Try again, ever more seldom, until it works or nobody uses the cache any more."""
    delay = _FIRST_DELAY
    while True:
        time.sleep(delay)
        delay = min(2 * delay, _LONGEST_DELAY)
        found = breaker()
        if found is None or found.try_again():
            return
        del found


def refused(error: BaseException) -> bool:
    """Say whether the server answered, but with a refusal."""
    return any(kind.__name__ == "ResponseError" for kind in type(error).__mro__)


def _described(error: BaseException) -> str:
    words = str(error).rpartition(" caused error: ")[2]  # before it a pipeline quotes its command
    return f"{type(error).__name__}: {words[:200]}"
