"""Whether detection finds what the labels of the corpus say, no less and no more.

First the corpus is judged by itself: the statements that a label speaks of were really run there
so many times, as a plain listener counts them, and the cure that it names really cures.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

import pytest

from flask_perfkit import Finding

from .judge import KINDS, Score, judge
from .labels import Label, Line
from .prove import loader_option
from .runner import Outcomes, View, all_views
from .witness import Witness

THRESHOLD = 5

each_view = pytest.mark.parametrize("view", all_views(), ids=lambda view: view.name)
only_sqlite = pytest.mark.parametrize("database", ["sqlite"], scope="session", indirect=True)


def test_the_corpus_has_as_many_innocent_views_as_guilty_ones() -> None:
    views = all_views()
    guilty = [view for view in views if view.of("FINDING")]
    innocent = [view for view in views if view.of("SILENT") and not view.of("FINDING")]

    assert len(guilty) >= 55
    assert len(innocent) >= 55
    assert {label.names[0] for view in views for label in view.of("FINDING")} == set(KINDS)


@each_view
def test_view_runs_what_its_labels_say(view: View, outcomes: Outcomes) -> None:
    assert view.of("FINDING", "SILENT", "ALLOWED"), "the view has no label"

    assert list(_untrue_labels(view, outcomes.of(view).witness)) == []


@each_view
def test_findings_are_those_of_the_labels(view: View, outcomes: Outcomes, score: Score) -> None:
    outcome = outcomes.of(view)
    made, wrong = judge(view, outcome.findings)
    score += made

    assert wrong == []
    assert judge(view, outcome.findings_again)[1] == [], "right only while the view was new"


@each_view
def test_findings_hold_no_value_of_a_row(view: View, outcomes: Outcomes) -> None:
    told = json.dumps([finding.to_dict() for finding in outcomes.of(view).findings])

    assert "@example" not in told
    assert "O'Brien" not in told


@only_sqlite
@pytest.mark.parametrize(
    ("view", "label"),
    [
        pytest.param(view, label, id=f"{view.name}-{label.names[1]}")
        for view in all_views()
        for label in view.of("FINDING")
        if loader_option(label.first_fix)
    ],
)
def test_labelled_loader_option_ends_the_repetition(
    view: View, label: Label, outcomes: Outcomes
) -> None:
    assert _cures(label.first_fix, view, label, outcomes)


@only_sqlite
@each_view
def test_loader_options_of_findings_end_the_repetition(view: View, outcomes: Outcomes) -> None:
    for finding in outcomes.of(view).findings:
        option = loader_option(finding.fix)
        label = _label_of(finding, view)
        if option and label and loader_option(label.first_fix):
            assert _cures(option, view, label, outcomes), finding.message


def _label_of(finding: Finding, view: View) -> Label | None:
    for label in view.of("FINDING"):
        here = (finding.filename, finding.lineno) in label.lines
        if here and finding.subject in label.choices(1) and finding.kind == label.names[0]:
            return label
    return None


def _cures(option: str, view: View, label: Label, outcomes: Outcomes) -> bool:
    """Whether the option takes all repetitions of the finding away."""
    instead = "instead" in label.names
    after = outcomes.with_option(view, option, label.names[1], instead=instead)
    before = outcomes.of(view).witness
    assert label.count is not None
    saved = _repeated(before, label, writes=False) - (
        _repeated(after, label, writes=False) if after else 0
    )
    return after is not None and saved >= label.count[0]


def _repeated(witness: Witness, label: Label, *, writes: bool) -> int:
    return sum(witness.repeated_at(line, writes=writes) for line in label.lines)


def _untrue_labels(view: View, witness: Witness) -> Iterator[str]:
    """Yield what the listener saw otherwise than the labels say."""
    runs: Counter[tuple[Line, bool]] = Counter()
    for label in view.of("FINDING"):
        if label.count:
            writes = label.names[0] == "n_plus_one_write"
            runs[label.line, writes] += int(label.settings.get("runs", label.count[0]))
    for label in view.of("FINDING"):
        for writes in (False, True):
            said, seen = runs[label.line, writes], _repeated(witness, label, writes=writes)
            if label.count and said != seen:
                yield f"{label.line} repeats {seen} statements, writes: {writes}, not {said}"
    for label in view.of("SILENT"):
        seen = len(witness.at(label.line))
        if label.count and seen not in label.count:
            yield f"{label.line} runs {seen} statements, not {label.count}"
    for label in view.of("CALLER"):
        seen = len(witness.below(label.line))
        if label.count and seen < label.count[0]:
            yield f"{label.line} calls for {seen} statements, not {label.count}"
    for label in view.of("ORIGIN"):
        if not witness.at(label.line):
            yield f"{label.line} runs no statement, so it brings no rows"
    yield from _unlabelled_repetitions(view, witness)


def _unlabelled_repetitions(view: View, witness: Witness) -> Iterator[str]:
    labels = view.of("FINDING", "SILENT", "ALLOWED")
    spoken_of = {line for label in labels for line in label.lines}
    shapes = Counter((e.lines[:1], e.statement) for e in witness.executions)
    for (line, statement), count in shapes.items():
        if count >= THRESHOLD and not spoken_of.intersection(line):
            yield f"{line} has no label and repeats {count} times: {statement}"
