"""An audit as text for a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from shutil import get_terminal_size
from textwrap import wrap

from click import style

from flask_perfkit.advice.check import Check
from flask_perfkit.advice.output.report import locked_words
from flask_perfkit.audit.audit import Audit, Problem
from flask_perfkit.audit.checklist import CHECKS, checklist
from flask_perfkit.recording.wording import counted, milliseconds

_COLOURS = {"error": "red", "warning": "yellow", "info": "cyan"}
_WIDEST = 100
_NARROWEST = 40
_MOST_ADDRESSES = 5
_AWAY = (
    "Turned away or redirected, so that little was seen of what they do "
    "(--login or --header may open them)"
)
_MARKS = {True: "yes", False: "NO", None: "-"}


def lines_of(audit: Audit) -> Iterator[str]:
    """Yield the report: problems by cost, what came of the fixes, what was not seen, the list."""
    yield f"{counted(len(audit.visits), 'request')}, {counted(len(audit.problems), 'finding')}"
    if audit.interrupted:
        yield "Interrupted: this is what was found until then."
    for problem in audit.problems:
        yield ""
        yield from _block(problem)
    away = [visit for visit in audit.visits if visit.was_turned_away]
    known = {visit.address.path for visit in (*away, *audit.failed)}
    notes = _notes(audit)
    if audit.no_advice:
        notes.append(f"no advice on indexes: {audit.no_advice}")
    if audit.locked:
        notes.append(locked_words(audit.locked))
    yield from _section("Worth knowing", notes)
    yield from _section("Seen without measuring", map(_checked, audit.checks))
    yield from _section(_AWAY, [f"{visit.address.path}: {visit.status}" for visit in away])
    broken = [visit.reason for visit in audit.failed if not visit.is_gone]
    yield from _section("Answered with an error", broken)
    gone = [visit for visit in audit.failed if visit.is_gone]
    yield from _section("Not there", [f"{visit.address.path}: {visit.status}" for visit in gone])
    missed = [each for each in audit.missed if each.path not in known]
    yield from _section(
        "Not audited", [f"{each.endpoint or each.path}: {each.reason}" for each in missed]
    )
    yield from _list(audit)


def _block(problem: Problem) -> Iterator[str]:
    finding = problem.finding
    endpoint, path = problem.addresses[0] if problem.addresses else (finding.endpoint, "")
    others = problem.addresses[1:]
    severity = style(finding.severity.upper(), fg=_COLOURS[finding.severity], bold=True)
    yield f"{severity}  {endpoint or path or finding.subject}"
    yield from _wrapped(finding.message)
    if others:
        also = f"also shown by {_some([path for _, path in others])}"
        cost = f"; {milliseconds(problem.cost)} in all" if problem.cost else ""
        yield from _wrapped(also + cost)
    if problem.proof is not None:
        yield from _wrapped(problem.proof.message)


def _notes(audit: Audit) -> list[str]:
    """Return what is to be said of addresses, those together of which it is the same."""
    paths: dict[str, list[str]] = {}
    for visit in audit.visits:
        for note in visit.notes:
            paths.setdefault(note, []).append(str(visit.address.path))
    return [f"{_some(found)}: {note}" for note, found in paths.items()]


def _some(paths: Sequence[str]) -> str:
    more = len(paths) - _MOST_ADDRESSES
    return ", ".join(paths[:_MOST_ADDRESSES]) + (f" and {more} more" if more > 0 else "")


def _checked(check: Check) -> str:
    return f"{check.kind}: {check.subject}: {check.message}; {check.fix}"


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    found = list(lines)
    if found:
        yield ""
        yield f"{title}:"
        for line in found:
            yield from _wrapped(line)


def _list(audit: Audit) -> Iterator[str]:
    """Yield the endpoints with what a new one is held against."""
    rows = list(checklist(audit))
    if not rows:
        return
    widths = [len(check) for check in CHECKS]
    most = _width() - sum(widths) - 2 * len(widths)
    name_width = min(max(len(name) for name in ("endpoint", *(row.endpoint for row in rows))), most)
    yield ""
    yield "  ".join(["endpoint".ljust(name_width), *CHECKS])
    for row in rows:
        marks = [
            _MARKS[answer].ljust(width) for answer, width in zip(row.answers, widths, strict=True)
        ]
        name = (
            row.endpoint
            if len(row.endpoint) <= name_width
            else f"…{row.endpoint[1 - name_width :]}"
        )
        yield "  ".join([name.ljust(name_width), *marks]).rstrip()


def _wrapped(text: str) -> list[str]:
    """Return a text in lines that fit the terminal; an address or a path stays whole."""
    return wrap(
        text,
        _width(),
        initial_indent="  ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _width() -> int:
    return max(_NARROWEST, min(get_terminal_size().columns, _WIDEST))
