"""Listen to the server's pushes, which say that a token has changed (CLIENT TRACKING, RESP3).

One connection a process, in broadcast mode for the tokens' prefix alone: one message for
each commit and table, not one for each key. A path that has died is silent, and silence looks
like "no change". So the connection is asked to answer several times a second, and the near
entries count only for as long as the last answer is young.
"""

from __future__ import annotations

import threading
import time
from typing import Any
from weakref import ref

from flask_perfkit.cache.process.fork import Lock, call_after_fork
from flask_perfkit.cache.process.log import warn
from flask_perfkit.cache.stores.near import Near
from flask_perfkit.cache.stores.tokens import PushSource

SILENCE_SECONDS = 0.5
"""How long near entries are used without an answer from the server, and may be stale then."""

_PING_SECONDS = 0.15
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0


class PushListener:
    """Keeps a near-cache true; the thread starts with the first use and ends with the cache."""

    def __init__(self, source: PushSource, near: Near) -> None:
        self._source = source
        self._near = ref(near)
        self._lock = Lock()
        self._running = False
        self._complained = False
        call_after_fork(self._after_fork)

    def ensure(self) -> None:
        """Start to listen, unless that is done already."""
        if self._running:
            return
        with self._lock:
            if not self._running:
                self._running = True
                threading.Thread(
                    target=self._listen_on, name="perfkit-cache-pushes", daemon=True
                ).start()

    def _listen_on(self) -> None:
        pause = _FIRST_PAUSE
        while self._near() is not None:
            started = time.monotonic()
            try:
                self._listen()
            except Exception as error:
                self._complain(error)
            near = self._near()
            if near is not None:
                near.alive_until = 0.0
            if time.monotonic() - started > _LONGEST_PAUSE:
                pause = _FIRST_PAUSE
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _listen(self) -> None:
        """Take in pushes until the connection breaks, falls silent or nobody needs them."""
        connection = self._source.connect()
        try:
            connection.connect()
            connection._parser.set_invalidation_push_handler(self._take)
            connection.send_command(
                "CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", self._source.prefix
            )
            connection.read_response()
            near = self._near()
            if near is not None:
                near.forget_all()
            del near
            self._follow(connection)
        finally:
            connection.disconnect()

    def _follow(self, connection: Any) -> None:
        asked: float | None = None
        next_ask = 0.0
        while (near := self._near()) is not None:
            now = time.monotonic()
            if asked is None and now >= next_ask:
                connection.send_command("PING", check_health=False)
                asked = now
            if asked is not None and now - asked > SILENCE_SECONDS:
                raise TimeoutError("the server does not answer")
            if connection.can_read(timeout=_PING_SECONDS):
                answer = connection.read_response(push_request=True)
                if answer == b"PONG" and asked is not None:
                    near.alive_until = asked + SILENCE_SECONDS
                    next_ask = asked + _PING_SECONDS
                    asked = None
            del near

    def _take(self, message: list[Any]) -> None:
        near = self._near()
        if near is None:
            return
        keys = message[1]
        if keys is None:
            near.forget_all()
            return
        names = [_text(key).removeprefix(self._source.prefix) for key in keys]
        near.forget(names)
        for name in names:
            if name == self._source.gone:
                near.forget_all()
            elif name.startswith(self._source.gone):
                near.drop(name.removeprefix(self._source.gone))

    def _complain(self, error: Exception) -> None:
        if not self._complained:
            self._complained = True
            warn(
                "The near-cache is not used while the server's pushes do not arrive (%s: %s)",
                type(error).__name__,
                str(error)[:200],
            )

    def _after_fork(self) -> None:
        self._running = False
        near = self._near()
        if near is not None:
            near.alive_until = 0.0
            near.forget_all()


def _text(key: bytes) -> str:
    try:
        return key.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return key.decode("utf-8", "replace")  # somebody else's: none of ours has such bytes
