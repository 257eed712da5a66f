"""Stop asking a backend that does not answer, and find out in the background when it does."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from flask_perfkit.cache.fork import call_after_fork

_log = logging.getLogger(__name__)

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
            _log.warning(
                "The cache's server is not usable (%s): values come from their source until it is",
                _described(error),
            )
            self._start()

    def complain(self, error: BaseException) -> None:
        """Log a refusal, once for each kind."""
        kind = type(error).__name__
        if kind not in self._complained:
            self._complained.add(kind)
            _log.warning(
                "The cache's server refuses to store (%s): values come from their source",
                _described(error),
            )

    def _start(self) -> None:
        threading.Thread(target=self._look, name="perfkit-cache-recovery", daemon=True).start()

    def _look(self) -> None:
        delay = _FIRST_DELAY
        while True:
            time.sleep(delay)
            delay = min(2 * delay, _LONGEST_DELAY)
            try:
                self._recover()
            except Exception:
                continue
            with self._lock:
                self.open = False
            _log.warning("The cache's server is usable again")
            return

    def _after_fork(self) -> None:
        self._lock = threading.Lock()
        if self.open:
            self._start()


def refused(error: BaseException) -> bool:
    """Say whether the server answered, but with a refusal."""
    return any(kind.__name__ == "ResponseError" for kind in type(error).__mro__)


def _described(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error)[:200]}"
