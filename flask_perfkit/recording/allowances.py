"""What the code allows: findings that are known and wanted, and when that holds."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass, field
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True)
class Allowance:
    """A kind of finding that is allowed, for which subjects, why, and the line that says so.

    ``subject`` is a pattern of :mod:`fnmatch`: ``"User.documents"``, ``"User.*"`` or ``"*"``.
    """

    kind: str
    subject: str
    reason: str
    filename: str
    lineno: int

    def __str__(self) -> str:
        return f'allow("{self.kind}", "{self.subject}")'

    def covers(self, kind: str, subject: str) -> bool:
        """Tell whether a finding of this kind about this subject is allowed."""
        return kind == self.kind and fnmatchcase(subject, self.subject)


@dataclass(slots=True)
class Span:
    """When an allowance holds: the moments at which it began and ended, in turn.

    Blocks that lie in each other, as in a recursion, are one: ``depth`` counts them.
    """

    moments: list[int] = field(default_factory=list)
    depth: int = 0

    def begin(self, moment: int) -> None:
        """Let it hold from now on."""
        if not self.depth:
            self.moments.append(moment)
        self.depth += 1

    def end(self, moment: int) -> None:
        """Let it hold no longer; harmless where it does not."""
        if self.depth:
            self.depth -= 1
            if not self.depth:
                self.moments.append(moment)

    def holds(self, moment: int) -> bool:
        """Tell whether it held at that moment."""
        return bisect_right(self.moments, moment) % 2 == 1

    def forget(self) -> None:
        """Drop what is over."""
        del self.moments[: len(self.moments) // 2 * 2]


outside: ContextVar[tuple[Allowance, ...]] = ContextVar("flask_perfkit_allowed", default=())
"""What is allowed where no recorder is open: it holds for those that are opened inside."""


def holding(spans: Iterable[tuple[Allowance, Span]], moment: int) -> tuple[Allowance, ...]:
    """Return the allowances that held at a moment."""
    return tuple(allowance for allowance, span in spans if span.holds(moment))
