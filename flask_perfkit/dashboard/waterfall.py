"""A request as a waterfall: one row for each statement or call, where it lies in time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flask_perfkit.dashboard.charts import WIDTH

if TYPE_CHECKING:
    from flask_perfkit.store.reading import (
        StoredCall,
        StoredFinding,
        StoredProfile,
        StoredStatement,
    )

_NARROWEST = 2.0
_HEIGHT = 10.0


@dataclass(frozen=True)
class Bar:
    """A rectangle in the track of a row, 1000 wide and 10 high; ``kind`` gives its colour."""

    kind: str
    x: float
    y: float
    width: float
    height: float
    is_span: bool = False


@dataclass(frozen=True)
class Step:
    """All executions of one statement at one line, or all calls of one name.

    Repeated ones are folded: their bar reaches from the first to the last, and is filled to the
    share of that time in which they were at work.
    """

    label: str
    kind: str
    sql: str | None
    fingerprint: str | None
    filename: str | None
    lineno: int | None
    function: str | None
    library: str | None
    count: int
    rows: int | None
    started: float
    ended: float
    duration: float
    fetch_duration: float | None
    errors: int
    bars: tuple[Bar, ...]
    findings: tuple[StoredFinding, ...]


@dataclass(frozen=True)
class Part:
    """How much of a request's time one sort of work took, and where it lies in a strip of all."""

    kind: str
    name: str
    duration: float
    share: float
    x: float


_SORTS = {
    "sql": "executing statements",
    "fetch": "fetching rows",
    "cache": "cache and Redis",
    "blocking": "blocking calls",
    "template": "templates",
}
_REST = "code, and what is not watched"


def parts_of(profile: StoredProfile, steps: Sequence[Step]) -> list[Part]:
    """Return where the time of a request went, the rest of it last."""
    durations = dict.fromkeys(_SORTS, 0.0)
    for step in steps:
        durations[step.kind] += step.duration
        durations["fetch"] += step.fetch_duration or 0.0
    durations["template"] = _template_time(steps)
    known = sum(durations.values())
    whole = max(profile.summary.duration, known, 1e-9)
    named = [(kind, _SORTS[kind], seconds) for kind, seconds in durations.items() if seconds]
    parts: list[Part] = []
    for kind, name, seconds in (*named, ("rest", _REST, whole - known)):
        x = parts[-1].x + WIDTH * parts[-1].share if parts else 0.0
        parts.append(Part(kind, name, seconds, seconds / whole, x))
    return parts


def _template_time(steps: Sequence[Step]) -> float:
    """Return the time in templates, without the statements and calls that lie within them."""
    outermost: list[Step] = []
    templates = [step for step in steps if step.kind == "template"]
    for step in sorted(templates, key=lambda step: (step.started, -step.ended)):
        if not outermost or step.ended > outermost[-1].ended:
            outermost.append(step)
    within = sum(
        step.duration + (step.fetch_duration or 0.0)
        for step in steps
        if step.kind != "template"
        and any(each.started <= step.started and step.ended <= each.ended for each in outermost)
    )
    return max(sum(step.duration for step in outermost) - within, 0.0)


def steps_of(profile: StoredProfile) -> list[Step]:
    """Return the rows of a request in the order in which they began."""
    ends = [each.ended for each in profile.statements] + [each.ended for each in profile.calls]
    whole = max(profile.summary.duration, *ends, 1e-9)
    found = {each.id: each for each in (*profile.findings, *profile.allowed)}
    steps = [_of_statement(each, whole, found) for each in profile.statements]
    steps += [_of_call(each, whole) for each in profile.calls]
    return sorted(steps, key=lambda step: step.started)


def _of_statement(one: StoredStatement, whole: float, found: dict[str, StoredFinding]) -> Step:
    return Step(
        label=f"{one.operation} {one.subject}".strip(),
        kind="sql",
        sql=one.sql,
        fingerprint=one.fingerprint,
        filename=one.filename,
        lineno=one.lineno,
        function=one.function,
        library=one.library,
        count=one.count,
        rows=one.rows,
        started=one.started,
        ended=one.ended,
        duration=one.duration,
        fetch_duration=one.fetch_duration,
        errors=one.errors,
        bars=tuple(_bars("sql", one, one.fetch_duration or 0.0, whole)),
        findings=tuple(found[each] for each in one.finding_ids if each in found),
    )


def _of_call(one: StoredCall, whole: float) -> Step:
    kind = "cache" if one.kind == "redis" else one.kind
    return Step(
        label=f"{one.kind} {one.name}",
        kind=kind,
        sql=None,
        fingerprint=None,
        filename=one.filename,
        lineno=one.lineno,
        function=one.function,
        library=None,
        count=one.count,
        rows=None,
        started=one.started,
        ended=one.ended,
        duration=one.duration,
        fetch_duration=None,
        errors=0,
        bars=tuple(_bars(kind, one, 0.0, whole)),
        findings=(),
    )


def _bars(
    kind: str, one: StoredStatement | StoredCall, fetching: float, whole: float
) -> Iterator[Bar]:
    x = WIDTH * min(max(one.started / whole, 0), 1)
    width = max(WIDTH * min((one.ended - one.started) / whole, 1), _NARROWEST)
    x = min(x, WIDTH - width)
    working = one.duration + fetching
    if one.count > 1:
        busy = min(working / max(one.ended - one.started, 1e-9), 1.0)
        yield Bar(kind, x, 0, width, _HEIGHT, is_span=True)
        yield Bar(kind, x, _HEIGHT * (1 - busy), width, _HEIGHT * busy)
        return
    executing = width * one.duration / working if working else width
    yield Bar(kind, x, 0, executing, _HEIGHT)
    if fetching:
        yield Bar("fetch", x + executing, 0, width - executing, _HEIGHT)
