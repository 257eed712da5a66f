"""A finding: one performance problem, where it is, what it costs and what cures it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from flask_perfkit.recording.allowances import Allowance

SEVERITIES = {
    "n_plus_one": "error",
    "n_plus_one_write": "error",
    "n_plus_one_cache": "warning",
    "scattered_lookups": "info",
    "duplicate_query": "warning",
    "slow_query": "warning",
    "slow_request": "warning",
    "unbounded_result": "error",
    "cartesian_product": "warning",
    "unused_eager_load": "info",
    "unused_columns": "info",
    "python_aggregation": "warning",
    "missing_index": "warning",
    "redundant_index": "info",
    "unused_index": "info",
    "blocking_call": "error",
    "redis_keys": "error",
    "uncompressed_response": "warning",
    "uncached_static": "warning",
}
"""Every kind of finding with its severity; detectors of an application's own add theirs."""

KINDS = tuple(SEVERITIES)
"""The kinds that come with the package."""

_RANK = {"error": 0, "warning": 1, "info": 2}


def add_kind(kind: str, severity: str) -> None:
    """Add a kind of an application's own; saying it again is harmless.

    :raises ValueError: it is no name, it is taken, or the severity is none.
    """
    if not (isinstance(kind, str) and kind.isidentifier()) or kind in KINDS:
        raise ValueError(
            f"kind is {kind!r}; allowed is a name such as 'chatty_view' that is not taken: "
            f"{', '.join(KINDS)}"
        )
    if severity not in _RANK:
        raise ValueError(f"severity is {severity!r}; allowed is {', '.join(map(repr, _RANK))}")
    SEVERITIES[kind] = severity


def check_kind(kind: str) -> None:
    """Refuse what is no kind of finding.

    :raises ValueError: it names those that there are.
    """
    if kind not in SEVERITIES:
        raise ValueError(f"{kind!r} is no kind of finding; allowed is {', '.join(SEVERITIES)}")


def printable(text: str) -> str:
    """Return a text with what is not printable as Python escapes it."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem with one cause.

    ``filename``, ``lineno`` and ``function`` are the deepest application line that asked;
    ``None`` where no application code was on the stack. ``callers`` are the application
    lines one step out as ``(filename, lineno, count)``, most frequent first. ``origin`` is
    the line of the statement that loaded the rows which the loop walks, where it can be
    told. ``duration`` is in seconds; ``sql`` never holds a value. ``cure`` is what ``fix`` says, as
    an object; None where it is words only, and in a finding of another process. ``library`` is the
    one that did it all by itself, where the application has no part in it. Control characters
    in a text are shown as Python escapes them: what a client sends makes no line of its own.
    """

    kind: str
    subject: str
    message: str
    fix: str
    count: int = 1
    duration: float = 0.0
    filename: str | None = None
    lineno: int | None = None
    function: str | None = None
    callers: tuple[tuple[str, int, int], ...] = ()
    origin: tuple[str, int] | None = None
    endpoint: str | None = None
    sql: str | None = None
    cure: Any = field(default=None, compare=False, repr=False)
    library: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in SEVERITIES:
            check_kind(self.kind)
        for name in ("subject", "message", "fix"):
            text = getattr(self, name)
            if not isinstance(text, str):
                raise TypeError(f"{name} is {text!r:.100}; allowed is text")
            if not text.isprintable():
                object.__setattr__(self, name, printable(text))

    @property
    def severity(self) -> str:
        """``"error"``, ``"warning"`` or ``"info"``, which all is that only a library can fix."""
        return "info" if self.library is not None else SEVERITIES[self.kind]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain data that JSON can hold."""
        values = asdict(replace(self, cure=None))
        del values["cure"]
        return {**values, "severity": self.severity}

    def __getstate__(self) -> list[Any]:
        """Leave the cure behind in a pickle: it is made of this process's own mappers."""
        return [None if item.name == "cure" else getattr(self, item.name) for item in fields(self)]


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedFinding(Finding):
    """A finding that the code allows, by the ``allowance`` which says why and where."""

    allowance: Allowance


def allow_covered(finding: Finding, allowances: Iterable[Allowance]) -> Finding:
    """Return the finding as an allowed one, if an allowance covers it."""
    for allowance in allowances:
        if allowance.covers(finding.kind, finding.subject):
            values = {item.name: getattr(finding, item.name) for item in fields(finding)}
            return AllowedFinding(**values, allowance=allowance)
    return finding


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Order findings by severity, then by the time they cost."""
    return tuple(sorted(findings, key=lambda finding: (_RANK[finding.severity], -finding.duration)))
