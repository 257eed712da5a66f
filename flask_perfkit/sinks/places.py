"""What was told of which place, and when: so that one fault does not fill a log."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from time import monotonic
from typing import NamedTuple

_MOST = 1_000


class Seen(NamedTuple):
    """How often a place was seen since it was told of, and the seconds that it took."""

    times: int
    seconds: float
    since: datetime


@dataclass(slots=True)
class _Told:
    at: float
    since: datetime
    times: int = 0
    seconds: float = 0.0


class Places:
    """Counts how often places are seen, and says when it is time to tell of one again.

    Of more than 1,000 places within an interval the others are passed over.

    :param interval: seconds between two times that one place is told of.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._told: OrderedDict[tuple[object, ...], _Told] = OrderedDict()
        self._lock = Lock()

    def see(self, key: tuple[object, ...], seconds: float, *, tells: bool = True) -> Seen | None:
        """Count a place; return what is to be told of it, None where it is to be passed over.

        :param tells: whether there is room to tell of a place that is new.
        """
        now = monotonic()
        with self._lock:
            told = self._told.get(key)
            if told is None:
                return self._first(key, now) if tells and self._has_room(now) else None
            told.times += 1
            told.seconds += seconds
            if now - told.at < self._interval:
                return None
            seen = Seen(told.times, told.seconds, told.since)
            self._told[key] = _Told(now, _clock())
            self._told.move_to_end(key)
            return seen

    def _first(self, key: tuple[object, ...], now: float) -> Seen:
        since = _clock()
        self._told[key] = _Told(now, since)
        return Seen(0, 0.0, since)

    def _has_room(self, now: float) -> bool:
        if len(self._told) < _MOST:
            return True
        longest_ago = next(iter(self._told))
        if now - self._told[longest_ago].at < self._interval:
            return False
        del self._told[longest_ago]
        return True


def _clock() -> datetime:
    return datetime.now()
