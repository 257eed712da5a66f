"""What a store holds of a period, as data, and as text for a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from textwrap import wrap
from typing import Any

from flask_perfkit.recording.wording import counted, line, milliseconds, size
from flask_perfkit.store.reading import FindingTotals, Found, Period, Route
from flask_perfkit.store.store import Store
from flask_perfkit.system.indexes import IndexUse

_WIDTH = 80
_INDENT = "    "
_MOST_ROUTES = 50
_MOST_FINDINGS = 50
_MOST_INDEXES = 20
_FIGURES = "{:>8}  {:>7}  {:>7}  {:>7}  {:>7}  {:>6}  {:>6}"
_HEADER = _FIGURES.format("requests", "req/s", "p50", "p95", "p99", "stmts", "failed")


@dataclass(frozen=True)
class Report:
    """The routes, jobs and commands of a period and their findings, the most costly first.

    ``indexes`` is the use of those of a PostgreSQL database, None where there is none to ask.
    """

    period: Period
    url: str
    routes: Found[Route]
    findings: Found[FindingTotals]
    indexes: Sequence[IndexUse] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data that JSON can hold; durations in seconds."""
        return {
            "since": self.period.since,
            "until": self.period.until,
            "store": self.url,
            "routes": [self._route(route) for route in self.routes.items],
            "findings": [_finding(each) for each in self.findings.items],
            "indexes": None if self.indexes is None else [each._asdict() for each in self.indexes],
        }

    def _route(self, route: Route) -> dict[str, Any]:
        return {
            **route.key._asdict(),
            "endpoint": route.endpoint,
            "count": route.count,
            "is_estimated": route.is_estimated,
            "per_second": route.count / self._seconds,
            "p50": route.p50,
            "p95": route.p95,
            "p99": route.p99,
            "time": route.duration,
            "statements_each": route.statements_each,
            "error_rate": route.error_rate,
            "findings": route.findings,
        }

    @property
    def _seconds(self) -> float:
        return max(self.period.until - self.period.since, 1.0)

    def lines(self) -> Iterator[str]:
        """Yield it as lines to read."""
        since = datetime.fromtimestamp(self.period.since)
        yield f"Since {since:%Y-%m-%d %H:%M}, from {self.url}"
        yield ""
        yield _HEADER if self.routes.items else "No request has come in since."
        for route in self.routes.items:
            yield from self._lines_of(route)
        yield from _more(self.routes, "route")
        yield from _lines_of_findings(self.findings)
        if self.indexes is not None:
            yield from _lines_of_indexes(self.indexes)

    def _lines_of(self, route: Route) -> Iterator[str]:
        mark = "~" if route.is_estimated else ""
        yield _named(route)
        yield _FIGURES.format(
            f"{mark}{route.count:,.0f}",
            f"{mark}{route.count / self._seconds:.3g}",
            *map(milliseconds, (route.p50, route.p95, route.p99)),
            f"{route.statements_each:.1f}",
            f"{route.error_rate:.1%}",
        )
        if route.findings:
            kinds = (f"{kind} in {times:,.0f}" for kind, times in sorted(route.findings.items()))
            yield from _wrapped(f"  found: {', '.join(kinds)}")


def report_of(store: Store, period: Period, indexes: Sequence[IndexUse] | None) -> Report:
    """Read a report from a store.

    :raises StoreError: the store cannot be read.
    """
    return Report(
        period,
        store.info().url,
        store.routes(period, limit=_MOST_ROUTES),
        store.findings(period, limit=_MOST_FINDINGS),
        indexes,
    )


def _named(route: Route) -> str:
    kind, method, name = route.key
    return f"{method} {name}" if kind == "request" else f"{kind} {name}"


def _finding(each: FindingTotals) -> dict[str, Any]:
    found = each.latest
    return {
        "kind": found.kind,
        "severity": found.severity,
        "subject": found.subject,
        "filename": found.filename,
        "lineno": found.lineno,
        "function": found.function,
        "message": found.message,
        "fix": found.fix,
        "routes": [key._asdict() for key in each.routes],
        "requests": each.times,
        "is_estimated": each.is_estimated,
        "time": each.duration,
        "first_seen": each.first_seen,
        "last_seen": each.last_seen,
        "state": each.state,
    }


def _lines_of_findings(findings: Found[FindingTotals]) -> Iterator[str]:
    if not findings.items:
        return
    yield ""
    yield "Findings, by the time that they took:"
    for each in findings.items:
        found = each.latest
        where = f" at {line(found.filename, found.lineno)}" if found.filename else ""
        often = f"{'~' if each.is_estimated else ''}{counted(each.times, 'request')}"
        state = "" if each.state == "open" else f", {each.state}"
        cost = f"{often}, {milliseconds(each.duration)}{state}"
        yield from _wrapped(f"  {found.kind}: {found.subject}{where}: {cost}")
        yield from _wrapped(f"    {found.fix}")
    yield from _more(findings, "finding")


def _lines_of_indexes(indexes: Sequence[IndexUse]) -> Iterator[str]:
    yield ""
    yield "Indexes of the database, the largest first:"
    for each in indexes[:_MOST_INDEXES]:
        used = counted(each.scans, "scan") if each.scans else "never used"
        yield from _wrapped(f"  {each.table} {each.name}: {size(each.size)}, {used}")
    if len(indexes) > _MOST_INDEXES:
        yield f"  and {len(indexes) - _MOST_INDEXES} more (--json has all)"


def _more(found: Found[Any], name: str) -> Iterator[str]:
    left = found.total - len(found.items)
    if left > 0:
        yield f"and {counted(left, f'more {name}')}"


def _wrapped(text: str) -> list[str]:
    return wrap(
        text,
        _WIDTH,
        subsequent_indent=_INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )
