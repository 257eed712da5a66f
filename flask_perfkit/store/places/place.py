"""What each place can do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from flask_perfkit.store.reading import Found, Period, RequestFilter, Summary
from flask_perfkit.store.tally import Batch

MOST_TEXTS = 2_000
"""Statements and findings whose words are kept, those seen last."""

AVERAGE_SIZE = 16_000
"""Bytes that a profile may take on average: the limit in bytes is so many times that of profiles.

Most take about one thousand, compressed."""

ALWAYS_KEPT = 0.1
"""The share of the profiles that stays whatever it is worth: what came last."""


class Known(NamedTuple):
    """What a short name stands for, as JSON, and when it was seen first and last."""

    value: str
    first: float
    last: float


class Place(Protocol):
    """Keeps totals, texts and profiles, for all processes that share it, within bounds.

    Any error may come out of its methods. Threads may share it.
    """

    def write(self, batch: Batch) -> None:
        """Add a batch to what is there, as one step, and forget what there is no room for."""

    def totals(self, names: Sequence[str]) -> list[bytes | None]:
        """Return the totals of buckets, by :meth:`Bucket.name`, as they were encoded."""

    def texts(self, names: Iterable[str]) -> dict[str, Known]:
        """Return what short names stand for, those that are known."""

    def requests(
        self, period: Period, only: RequestFilter, limit: int, offset: int
    ) -> Found[Summary]:
        """Return the profiles that a filter lets through, without their bodies."""

    def profile(self, profile_id: str) -> bytes | None:
        """Return the body of a profile."""

    def latest_with(self, finding_ids: Iterable[str]) -> dict[str, str]:
        """Return for each finding the id of the latest profile that has it."""

    def size(self) -> tuple[int, int]:
        """Return how many profiles are kept, and how many bytes they take."""

    def let_go(self) -> None:
        """Give up what a forked child must not inherit; it is had again when it is needed."""
