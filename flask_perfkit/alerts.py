"""Alerts from inside: what is watched over a window of time, and whom to tell.

A request only adds to counters. At most once a second, at the end of a request, the counters are
judged; who is told is called in a thread of its own, so that no request waits for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import isfinite
from threading import Lock, Thread
from typing import Any

from flask_perfkit.faults import log_once
from flask_perfkit.findings import SEVERITIES
from flask_perfkit.system import MB, resident_bytes

_SLOTS = 30
"""Parts of a window: what is older than it is forgotten by parts."""

_THIRD = _SLOTS // 3
_BETWEEN_LOOKS = 1.0
_SLOWEST = 0.05  # the share of requests above the 95th percentile
_FAILED = 500


@dataclass(slots=True)
class Slot:
    """What was counted in one part of a window; ``memory`` is the least that was seen, in bytes."""

    number: int
    requests: int = 0
    hits: int = 0
    memory: int | None = None


def _check_number(name: str, value: Any, *, below: float | None = None) -> None:
    allowed = "a number above zero" + (f" and below {below:g}" if below is not None else "")
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not isfinite(value) or value <= 0 or (below is not None and value >= below):
        raise ValueError(f"{name} is {value!r}; allowed is {allowed}")


def _check_count(name: str, value: Any) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} is {value!r}; allowed is a whole number above zero")


@dataclass(frozen=True, kw_only=True)
class Condition:
    """What an alert waits for: something that is seen in the last ``window`` seconds."""

    window: float = 300

    def __post_init__(self) -> None:
        _check_number("window", self.window)

    def see_request(self, slot: Slot, duration: float, status: int) -> None:
        """Count a request that took ``duration`` seconds."""

    def see_finding(self, slot: Slot, kind: str) -> bool:
        """Count a finding; tell whether it is one that this waits for."""
        return False

    def look(self, slot: Slot) -> None:
        """Look at what no request tells, before judging."""

    def judge(self, slots: Sequence[Slot]) -> str | None:
        """Return a sentence on what holds in these parts of the window, None if it does not."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class _Share(Condition):
    """Too many of the requests are of a sort; below ``at_least`` requests nothing is said."""

    over: float
    at_least: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_count("at_least", self.at_least)

    def is_hit(self, duration: float, status: int) -> bool:
        """Tell whether a request is of that sort."""
        raise NotImplementedError

    def exceeds(self, hits: int, requests: int) -> bool:
        """Tell whether so many of the requests are too many."""
        raise NotImplementedError

    def sentence(self, hits: int, requests: int) -> str:
        """Say it."""
        raise NotImplementedError

    def see_request(self, slot: Slot, duration: float, status: int) -> None:
        """Count a request."""
        slot.requests += 1
        slot.hits += self.is_hit(duration, status)

    def judge(self, slots: Sequence[Slot]) -> str | None:
        """Compare the share with the limit."""
        requests = sum(slot.requests for slot in slots)
        hits = sum(slot.hits for slot in slots)
        if requests < self.at_least or not self.exceeds(hits, requests):
            return None
        return self.sentence(hits, requests)


@dataclass(frozen=True, kw_only=True)
class P95(_Share):
    """The 95th percentile of the requests' durations is over so many seconds.

    Exact: it is so when more than five of a hundred requests took longer.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_number("over", self.over)

    def is_hit(self, duration: float, status: int) -> bool:
        """Tell whether a request took longer."""
        return duration > self.over

    def exceeds(self, hits: int, requests: int) -> bool:
        """Tell whether the percentile lies among those that took longer."""
        return hits > _SLOWEST * requests

    def sentence(self, hits: int, requests: int) -> str:
        """Say how many took longer."""
        return (
            f"p95 is over {self.over:g} s: {hits} of {requests} requests "
            f"took longer in the last {self.window:g} s"
        )


@dataclass(frozen=True, kw_only=True)
class ErrorRate(_Share):
    """More than a share of the requests, such as 0.05, were answered with 500 or above."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_number("over", self.over, below=1)

    def is_hit(self, duration: float, status: int) -> bool:
        """Tell whether a request failed."""
        return status >= _FAILED

    def exceeds(self, hits: int, requests: int) -> bool:
        """Tell whether too many failed."""
        return hits > self.over * requests

    def sentence(self, hits: int, requests: int) -> str:
        """Say how many failed."""
        return (
            f"error rate is over {self.over:.3g}: {hits} of {requests} requests "
            f"failed in the last {self.window:g} s"
        )


@dataclass(frozen=True, kw_only=True)
class Findings(Condition):
    """There were findings, of one kind or of any."""

    kind: str | None = None
    at_least: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_count("at_least", self.at_least)
        if self.kind is not None and self.kind not in SEVERITIES:
            raise ValueError(f"kind is {self.kind!r}; allowed is {', '.join(SEVERITIES)}, or None")

    def see_finding(self, slot: Slot, kind: str) -> bool:
        """Count a finding of the kind."""
        if self.kind not in (None, kind):
            return False
        slot.hits += 1
        return True

    def judge(self, slots: Sequence[Slot]) -> str | None:
        """Compare the number with the least that matters."""
        found = sum(slot.hits for slot in slots)
        if found < self.at_least:
            return None
        return f"{self.kind or 'findings'}: {found:,} found in the last {self.window:g} s"


@dataclass(frozen=True, kw_only=True)
class MemoryGrowth(Condition):
    """The memory of this process grew by more than ``over`` bytes within the window.

    Compared is the least of the last third of the window with the least of the first third, so
    that what a request takes and gives back is no growth.
    """

    over: float
    window: float = 3_600

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_number("over", self.over)

    def look(self, slot: Slot) -> None:
        """Note the resident memory."""
        memory = resident_bytes()
        slot.memory = memory if slot.memory is None else min(memory, slot.memory)

    def judge(self, slots: Sequence[Slot]) -> str | None:
        """Compare the floors of the first and of the last third."""
        now = slots[-1].number
        before = _floor(slot for slot in slots if slot.number <= now - 2 * _THIRD)
        after = _floor(slot for slot in slots if slot.number > now - _THIRD)
        if before is None or after is None or after - before <= self.over:
            return None
        return (
            f"memory grew by {(after - before) / MB:.1f}MB to {after / MB:.1f}MB "
            f"in the last {self.window:g} s"
        )


def _floor(slots: Iterable[Slot]) -> int | None:
    return min((slot.memory for slot in slots if slot.memory is not None), default=None)


@dataclass(frozen=True)
class Alert:
    """What is told: that a condition holds in an application, and how, in one sentence."""

    app: str
    condition: Condition
    message: str

    def __str__(self) -> str:
        return f"{self.app}: {self.message}"


@dataclass(frozen=True)
class Rule:
    """When to tell, whom, and for how many seconds to be silent then."""

    when: Condition
    then: Callable[[Alert], object]
    cooldown: float

    @classmethod
    def checked(
        cls, when: Condition, then: Callable[[Alert], object], cooldown: float | None
    ) -> Rule:
        """Make a rule; without a cool-down it is silent for a window.

        :raises ValueError: one of them is not allowed; it says which and what is.
        """
        if not isinstance(when, Condition):
            raise ValueError(f"when is {when!r}; allowed is a condition such as P95(over=0.5)")
        if not callable(then):
            raise ValueError(f"then is {then!r}; allowed is a callable that gets the Alert")
        if cooldown is not None:
            _check_number("cooldown", cooldown)
        return cls(when, then, when.window if cooldown is None else cooldown)


@dataclass
class _Watch:
    """A rule with what was counted for it."""

    rule: Rule
    slots: deque[Slot] = field(default_factory=lambda: deque(maxlen=_SLOTS))
    silent_until: float = 0.0

    def slot(self, now: float) -> Slot:
        """Return the part of the window that is now; what is too old goes."""
        number = int(now * _SLOTS / self.rule.when.window)
        if not self.slots or self.slots[-1].number != number:
            self.slots.append(Slot(number))
            while self.slots[0].number <= number - _SLOTS:
                self.slots.popleft()
        return self.slots[-1]


class Monitor:
    """The alerts of one application; threads may share it.

    Times are seconds of one clock that never goes back.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._watches: list[_Watch] = []
        self._lock = Lock()
        self._next_look = 0.0

    def add(self, rule: Rule) -> None:
        """Watch for one thing more."""
        with self._lock:
            self._watches = [*self._watches, _Watch(rule)]

    def see_request(self, duration: float, status: int, now: float) -> None:
        """Count a request that has ended, and tell of what holds by now."""
        with self._lock:
            for watch in self._watches:
                watch.rule.when.see_request(watch.slot(now), duration, status)
            if now < self._next_look:
                return
            self._next_look = now + _BETWEEN_LOOKS
            due = [told for watch in self._watches if (told := self._judge(watch, now))]
        for told in due:
            Thread(target=_tell, args=told, name="perfkit-alert", daemon=True).start()

    def see_finding(self, kind: str, now: float) -> None:
        """Count a finding; one that is waited for is judged when its request ends."""
        with self._lock:
            for watch in self._watches:
                if watch.rule.when.see_finding(watch.slot(now), kind):
                    self._next_look = 0.0

    def _judge(self, watch: _Watch, now: float) -> tuple[Callable[[Alert], object], Alert] | None:
        rule, slot = watch.rule, watch.slot(now)
        rule.when.look(slot)
        if now < watch.silent_until:
            return None
        message = rule.when.judge(watch.slots)
        if message is None:
            return None
        watch.silent_until = now + rule.cooldown
        return rule.then, Alert(self._name, rule.when, message)


def _tell(then: Callable[[Alert], object], alert: Alert) -> None:
    try:
        then(alert)
    except Exception:
        log_once("telling of an alert")
