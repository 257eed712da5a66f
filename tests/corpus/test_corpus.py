"""Whether detection finds what the labels of the corpus say, no less and no more.

First the corpus is judged by itself: the statements that a label speaks of were really run there
so many times, as a plain listener counts them, and the cure that it names really cures.
"""

from __future__ import annotations

import json

import pytest

from flask_perfkit import Finding

from .evidence import repeated, untrue_labels
from .judge import KINDS, Score, judge
from .labels import Label
from .prove import loader_option, statement
from .runner import Outcomes, View, all_views

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

    assert list(untrue_labels(view, outcomes.of(view).witness)) == []


@each_view
def test_findings_are_those_of_the_labels(view: View, outcomes: Outcomes, score: Score) -> None:
    outcome = outcomes.of(view)
    made, wrong = judge(view, outcome.findings)
    score += made

    assert wrong == [], "\n".join(wrong)
    assert judge(view, outcome.findings_again)[1] == [], "right only while the view was new"
    told = json.dumps([finding.to_dict() for finding in outcome.findings])
    assert "@example" not in told
    assert "O'Brien" not in told


@only_sqlite
@each_view
def test_statement_of_a_fix_is_code(view: View, outcomes: Outcomes) -> None:
    for finding in outcomes.of(view).findings:
        if finding.kind in KINDS and not loader_option(finding.fix):
            built = statement(finding.fix)
            assert built is None or str(built)


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
def test_loader_option_ends_the_repetition(view: View, label: Label, outcomes: Outcomes) -> None:
    assert _cures(label.first_fix, view, label, outcomes), "the label is wrong"

    for finding in outcomes.of(view).findings:
        option = loader_option(finding.fix)
        if _speaks_of(label, finding) and option != label.first_fix:
            assert option, finding.message
            assert _cures(option, view, label, outcomes), finding.message


def _speaks_of(label: Label, finding: Finding) -> bool:
    here = "anywhere" in label.names or (finding.filename, finding.lineno) in label.lines
    return here and finding.kind == label.names[0] and finding.subject in label.choices(1)


def _cures(option: str, view: View, label: Label, outcomes: Outcomes) -> bool:
    """Whether the option takes all repetitions of the finding away."""
    instead = "instead" in label.names
    after = outcomes.with_option(view, option, label.names[1], instead=instead)
    before = outcomes.of(view).witness
    assert label.count is not None
    if after is None:
        return False
    saved = repeated(before, label, writes=False) - repeated(after, label, writes=False)
    return saved >= label.count[0]
