"""What a failing test says, for readers who never heard of PerfKit."""

from __future__ import annotations

import linecache
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from flask_perfkit.recording.cause import Cause
from flask_perfkit.recording.findings import Finding
from flask_perfkit.recording.wording import counted, line
from flask_perfkit.testing.budget import Excess, brief, is_counted

_MOST_LISTED = 30
_MOST_PLACES = 3


def listed(causes: Iterable[Cause]) -> str:
    """List the statements of causes, the most frequent first, with the lines that asked.

    The list begins with a colon; where nothing was sent it is empty.
    """
    statements = _by_statement(causes)
    counts = {sql: sum(cause.count for cause in same) for sql, same in statements.items()}
    most_first = sorted(counts, key=lambda sql: -counts[sql])
    lines = []
    for sql in most_first[:_MOST_LISTED]:
        lines += [f"{counts[sql]:7} x {sql}", *_places(statements[sql])]
    if len(most_first) > _MOST_LISTED:
        lines.append(f"          and {counted(len(most_first) - _MOST_LISTED, 'more statement')}")
    return "\n".join([":", *lines]) if lines else ""


def found(findings: Sequence[Finding]) -> str:
    """Say what was found while a test ran, with the source lines."""
    first, *more = findings
    others = f" and {len(more)} more" if more else ""
    lines = [
        f"PerfKit found {first.kind} of {first.subject}{others}.",
        "What the test asserts holds, but the code that it runs does avoidable work:",
        "",
    ]
    for finding in findings:
        lines += [finding.message, *_source(finding), ""]
    lines += [
        "If it is intended, say so above the view, or in the test with the fixture:",
        f'    perfkit.allow("{first.kind}", "{first.subject}", reason="...")',
    ]
    return "\n".join(lines)


def beyond_budget(
    excesses: Iterable[Excess], causes: Iterable[Cause], filename: str, *, known: bool
) -> str:
    """Say which statements a test's budget does not allow.

    :param known: whether the file has a budget for the test at all.
    """
    statements = _by_statement(causes)
    head = f"{filename} allows less than" if known else f"{filename} has no budget for what"
    lines = [
        f"{head} this test sends.",
        "What it asserts holds, but these queries are new, or more than there were:",
        "",
        "    allowed  sent",
    ]
    for excess in excesses:
        lines.append(f"    {excess.allowed or 'none':>7} {excess.sent:5}  {excess.sql}")
        lines += _places(statements[excess.sql], indent=" " * 19)
    return "\n".join(
        [
            *lines,
            "",
            "If they are intended, update the budget and have the change reviewed:",
            f"    pytest --perfkit-budget={filename} --perfkit-update-budget",
        ]
    )


def _by_statement(causes: Iterable[Cause]) -> dict[str, list[Cause]]:
    statements: defaultdict[str, list[Cause]] = defaultdict(list)
    for cause in filter(is_counted, causes):
        statements[brief(cause.sql)].append(cause)
    return statements


def _places(causes: Sequence[Cause], indent: str = " " * 10) -> Iterator[str]:
    for cause in causes[:_MOST_PLACES]:
        if cause.filename is None:
            yield f"{indent}outside of the application's code"
        else:
            yield f"{indent}at {line(cause.filename, cause.lineno)} in {cause.function}"
    if len(causes) > _MOST_PLACES:
        yield f"{indent}and at {counted(len(causes) - _MOST_PLACES, 'more line')}"


def _source(finding: Finding) -> Iterator[str]:
    """Yield the source of the line that asked, of its callers and of where the cure goes."""
    callers = [(filename, lineno) for filename, lineno, _ in finding.callers[:_MOST_PLACES]]
    places = [(finding.filename, finding.lineno), *callers, finding.origin or (None, None)]
    for filename, lineno in dict.fromkeys(places):
        source = linecache.getline(filename, lineno).strip() if filename and lineno else ""
        if filename and source:
            yield f"    {line(filename, lineno)}:  {source}"
