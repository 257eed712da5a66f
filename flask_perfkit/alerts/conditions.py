"""What an alert waits for: conditions over a window of time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

from flask_perfkit.recording.findings import SEVERITIES
from flask_perfkit.system.figures import MB, resident_bytes

SLOTS = 30
"""Parts of a window: what is older than it is forgotten by parts."""

_THIRD = SLOTS // 3
_SLOWEST = 0.05  # the share of requests above the 95th percentile
_FAILED = 500


@dataclass(slots=True)
class Slot:
    """What was counted in one part of a window; ``memory`` is the least that was seen, in bytes."""

    number: int
    requests: int = 0
    hits: int = 0
    memory: int | None = None


def check_number(name: str, value: Any, *, below: float | None = None) -> None:
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
        check_number("window", self.window)

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
        check_number("over", self.over)

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
        check_number("over", self.over, below=1)

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
        check_number("over", self.over)

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
