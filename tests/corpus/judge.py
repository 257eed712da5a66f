"""Compare the findings of one view with its labels, and add up the shares that are right."""

from __future__ import annotations

import ast
import inspect
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from flask_perfkit import Finding

from .labels import APPLICATION, ROOT, Label, Line
from .runner import View

KINDS = (
    "n_plus_one",
    "n_plus_one_write",
    "duplicate_query",
    "slow_query",
    "slow_request",
    "unbounded_result",
)
"""The kinds that are judged; a finding of another kind is neither right nor wrong here."""

ERRORS = ("n_plus_one", "n_plus_one_write", "unbounded_result")

_CURES = {
    "IN": (".in_(", "IN("),
    "GROUP_BY": ("group_by(", "GROUPBY"),
    "ADD_ALL": ("add_all", "insert("),
    "UPDATE": ("update(",),
    "DELETE": ("delete(",),
    "PAGE": ("paginate",),
}
"""What a fix must hold where the code itself issues the query: any of these, blanks aside."""

ASPECTS = ("subject", "line", "function", "count", "callers", "origin", "fix", "severity")


@dataclass
class Score:
    """How many findings were required, made and matched, and of each aspect how many are right."""

    required: int = 0
    made: int = 0
    matched: int = 0
    judged: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)

    def __iadd__(self, other: Score) -> Score:
        self.required += other.required
        self.made += other.made
        self.matched += other.matched
        self.judged += other.judged
        self.right += other.right
        return self

    def shares(self) -> Iterator[tuple[str, int, int]]:
        """Yield each share as its name, how many are right, and of how many."""
        yield "precision", self.matched, self.made
        yield "recall", self.matched, self.required
        for aspect in ASPECTS:
            yield f"right {aspect}", self.right[aspect], self.judged[aspect]


def judge(view: View, findings: Iterable[Finding]) -> tuple[Score, list[str]]:
    """Match findings with labels; return the score and, in words, all that is wrong."""
    left = [finding for finding in findings if finding.kind in KINDS]
    labels = view.of("FINDING")
    score = Score(required=len(labels))
    wrong: list[str] = []
    for label, finding in _pairs(view, labels, left):
        score.matched += 1
        for aspect, right in _aspects(view, label, finding):
            score.judged[aspect] += 1
            score.right[aspect] += right
            if not right:
                wrong.append(f"wrong {aspect}: {_told(finding)}; the label says {_said(label)}")
    unwanted = [finding for finding in left if not _allowed(view, finding)]
    score.made = score.matched + len(unwanted)
    wrong += [f"not in the labels: {_told(finding)}" for finding in unwanted]
    wrong += [f"not found: {_said(label)}" for label in labels]
    return score, wrong


def _pairs(view: View, labels: list[Label], left: list[Finding]) -> Iterator[tuple[Label, Finding]]:
    """Take the best pairs first out of both lists: right line and subject, then either."""
    for least in (3, 2, 1):
        for label in labels.copy():
            for finding in left:
                likeness = 2 * _right_line(view, label, finding) + _right_subject(label, finding)
                if finding.kind == label.names[0] and likeness >= least:
                    labels.remove(label)
                    left.remove(finding)
                    yield label, finding
                    break


def _allowed(view: View, finding: Finding) -> bool:
    return any(
        finding.kind == label.names[0]
        and (finding.filename, finding.lineno) == label.line
        and _right_subject(label, finding)
        for label in view.of("ALLOWED")
    )


def _aspects(view: View, label: Label, finding: Finding) -> Iterator[tuple[str, bool]]:
    if label.choices(1):
        yield "subject", _right_subject(label, finding)
    yield "line", _right_line(view, label, finding)
    if finding.filename and finding.filename.endswith(".py"):
        yield "function", _right_function(finding)
    if label.count is not None:
        yield "count", finding.count in label.count
    yield "callers", _right_callers(view, label, finding)
    origins = [other.line for other in view.of("ORIGIN") if _about(other, label)]
    if origins and finding.kind == "n_plus_one" and "." in finding.subject:
        yield "origin", finding.origin in origins
    yield "fix", _right_fix(label, finding)
    yield "severity", finding.severity == ("error" if finding.kind in ERRORS else "warning")


def _right_subject(label: Label, finding: Finding) -> bool:
    return not label.choices(1) or finding.subject in label.choices(1)


def _right_line(view: View, label: Label, finding: Finding) -> bool:
    if "anywhere" in label.names:
        source, start = inspect.getsourcelines(view.target)
        same_file = finding.filename == inspect.getsourcefile(view.target)
        return same_file and (finding.lineno or 0) in range(start, start + len(source))
    elsewhere = [other.line for other in view.of("ELSEWHERE") if _about(other, label)]
    return (finding.filename, finding.lineno) in (*label.lines, *elsewhere)


def _right_function(finding: Finding) -> bool:
    """Whether the function is the one that the line stands in, or a comprehension there."""
    assert finding.filename
    names = _functions_around(finding.filename, finding.lineno or 0)
    function = (finding.function or "").rpartition(".")[2]
    return function in names or function.startswith("<")


def _functions_around(filename: str, lineno: int) -> set[str]:
    return {name for name, lines in _functions_in(filename) if lineno in lines}


@cache
def _functions_in(filename: str) -> tuple[tuple[str, range], ...]:
    """Return the functions of a file, each with the numbers of its lines."""
    return tuple(
        (node.name, range(_first_line(node), (node.end_lineno or 0) + 1))
        for node in ast.walk(ast.parse(Path(filename).read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )


def _first_line(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)])


def _right_callers(view: View, label: Label, finding: Finding) -> bool:
    """Whether the labelled callers are named with their counts, most frequent first.

    Where no label names one, a caller need only be a line of the application; what called a job
    that runs in a block of the test is the test.
    """
    wanted = {other.line: other.count for other in view.of("CALLER") if _about(other, label)}
    optional = {other.line for other in view.of("CALLER?") if _about(other, label)}
    named = {(filename, lineno): count for filename, lineno, count in finding.callers}
    if not wanted and not optional:
        of_the_application = ("<template>", *APPLICATION)
        return view.how == "job" or all(file.startswith(of_the_application) for file, _ in named)
    counts = [count for _, _, count in finding.callers]
    return (
        all(line in named for line in wanted)
        and all(count is None or named[line] in count for line, count in wanted.items())
        and named.keys() <= wanted.keys() | optional
        and counts == sorted(counts, reverse=True)
    )


def _right_fix(label: Label, finding: Finding) -> bool:
    wanted = label.settings.get("fix")
    if wanted is None:
        return bool(finding.fix.strip())
    fix = re.sub(r"\s", "", finding.fix)
    choices = [code for one in wanted.split("|") for code in _CURES.get(one, (one,))]
    return any(code in fix for code in choices)


def _about(mark: Label, label: Label) -> bool:
    """Whether a CALLER, ORIGIN or ELSEWHERE speaks of the finding of ``label``."""
    return not mark.names or mark.names[0] in label.choices(1)


def _told(finding: Finding) -> str:
    callers = [(_short(file), lineno, count) for file, lineno, count in finding.callers]
    origin = finding.origin and _at(finding.origin)
    place = _at((finding.filename or "", finding.lineno or 0))
    return (
        f"{finding.kind} {finding.subject} x{finding.count} at {place} in {finding.function},"
        f" callers {callers}, origin {origin}, fix {finding.fix!r}"
    )


def _said(label: Label) -> str:
    count = f" x{label.count[0]}" if label.count else ""
    fix = f" fix={label.settings['fix']}" if "fix" in label.settings else ""
    return f"{' '.join(label.names)}{count}{fix} at {_at(label.line)}"


def _at(line: Line) -> str:
    return f"{_short(line[0])}:{line[1]}"


def _short(filename: str) -> str:
    return filename.removeprefix(f"{ROOT}/")
