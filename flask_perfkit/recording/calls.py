"""Calls that are no statements: to Redis and the cache, of templates, those that block a loop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from flask_perfkit.recording.allowances import Allowance
from flask_perfkit.recording.callsite import Site
from flask_perfkit.recording.cause import Tally, most_common

Note = tuple[str, str, int, int, int, Site, tuple[Allowance, ...]]
"""Kind, name, fingerprint of the key, start and end in nanoseconds, site, what was allowed."""

CallKey = tuple[str, str, str | None, int | None, tuple[Allowance, ...]]

_MOST_CALLS = 1_000
_MOST_KEYS = 10_000
_SECONDS = 1e-9


@dataclass(slots=True)
class Call:
    """All calls of one name at one line that are no statements.

    ``kind`` is ``"redis"``, ``"cache"``, ``"blocking"``, ``"template"``,
    ``"refused_relationship"`` or ``"refused_column"``; of the keys only fingerprints are kept, of
    what was refused to load the moment at which its object had been loaded. ``started`` is when the
    first call began, ``ended`` when the last one did end, on the clock of ``perf_counter_ns``.
    ``allowances`` held while it was called.
    """

    kind: str
    name: str
    filename: str | None
    lineno: int | None
    function: str | None
    count: int = 0
    duration: float = 0.0
    started: int = 0
    ended: int = 0
    keys: set[int] = field(default_factory=set)
    callers: Counter[tuple[str, int]] = field(default_factory=Tally)
    allowances: tuple[Allowance, ...] = ()

    @property
    def common_callers(self) -> tuple[tuple[str, int, int], ...]:
        """The application lines one step out with their counts, most frequent first."""
        return most_common(self.callers)

    def to_dict(self) -> dict[str, Any]:
        """Return what may be shown as plain data that JSON can hold."""
        return {
            "kind": self.kind,
            "name": self.name,
            "filename": self.filename,
            "lineno": self.lineno,
            "function": self.function,
            "count": self.count,
            "duration": self.duration,
        }


class Calls(dict[CallKey, Call]):
    """The calls of one recorder, counted by line."""

    def add(self, note: Note) -> None:
        """Count one call."""
        kind, name, key, started, ended, site, allowances = note
        asked, caller = site.asked, site.caller
        filename, lineno = (asked.filename, asked.lineno) if asked else (None, None)
        call = self.get((kind, name, filename, lineno, allowances))
        if call is None:
            function = asked.function if asked else None
            line = (filename, lineno, function)
            call = Call(kind, name, *line, started=started, allowances=allowances)
            if len(self) < _MOST_CALLS:
                self[kind, name, filename, lineno, allowances] = call
        call.count += 1
        call.duration += (ended - started) * _SECONDS
        call.ended = ended
        if len(call.keys) < _MOST_KEYS:
            call.keys.add(key)
        if caller is not None:
            call.callers[caller.filename, caller.lineno] += 1

    def absorb(self, calls: Iterable[Call]) -> None:
        """Add the calls that another recorder saw."""
        for call in calls:
            key = (call.kind, call.name, call.filename, call.lineno, call.allowances)
            known = self.get(key)
            if known is None:
                self[key] = replace(call, keys=set(call.keys), callers=call.callers.copy())
                continue
            known.count += call.count
            known.duration += call.duration
            known.started = min(known.started, call.started)
            known.ended = max(known.ended, call.ended)
            known.keys |= call.keys
            known.callers.update(call.callers)
