"""Counts requests and findings, judges the conditions of alerts, and calls who is to be told.

A request only adds to counters. At most once a second, at the end of a request, the counters are
judged. Who is to be told is called in a thread of its own, so no request waits for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock, Thread

from flask_perfkit.alerts.conditions import SLOTS, Condition, Slot, check_number
from flask_perfkit.faults import log_once
from flask_perfkit.given import CALLED, is_called

_BETWEEN_LOOKS = 1.0


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
        if not is_called(then):
            raise ValueError(f"then is {then!r}; allowed is {CALLED}: it gets the Alert")
        if cooldown is not None:
            check_number("cooldown", cooldown)
        return cls(when, then, when.window if cooldown is None else cooldown)


@dataclass
class _Watch:
    """A rule with what was counted for it."""

    rule: Rule
    slots: deque[Slot] = field(default_factory=lambda: deque(maxlen=SLOTS))
    silent_until: float = 0.0

    def slot(self, now: float) -> Slot:
        """Return the part of the window that is now; what is too old goes."""
        number = int(now * SLOTS / self.rule.when.window)
        if not self.slots or self.slots[-1].number != number:
            self.slots.append(Slot(number))
            while self.slots[0].number <= number - SLOTS:
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
