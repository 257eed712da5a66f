"""The patch of each finding, applied to a copy of its module: same values, fewer statements."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from flask_perfkit import Finding
from flask_perfkit.audit.patches.draft import Draft
from flask_perfkit.audit.patches.patch import grouped

from .runner import Outcomes, View, all_views

KINDS = ("n_plus_one", "n_plus_one_write")
LEAST = {"load": 0.95, "write": 0.8, "issued": 0.6}
"""The share of places of each sort that a patch has to hold for; every other has words."""

OF_EACH_SORT = (
    *("attributes.method_that_asks", "columns.refresh_after_commit", "issued.first", "issued.cte"),
    *("lookups.for_update", "lookups.get_composite_key"),
    *("writes.upsert_per_row", "writes.flush_per_row"),
)
"""What is tried on PostgreSQL too: a view for each sort of rewrite."""

only_sqlite = pytest.mark.parametrize("database", ["sqlite"], scope="session", indirect=True)
on_postgresql = pytest.mark.parametrize("database", ["postgresql"], scope="session", indirect=True)
guilty = [view for view in all_views() if view.of("FINDING")]
of_each_sort = [view for view in guilty if view.name in OF_EACH_SORT]
innocent = [view for view in all_views() if not view.of("FINDING", "ALLOWED")]


def places(view: View, outcomes: Outcomes) -> Iterator[tuple[Finding, ...]]:
    """Yield the findings of a view, those that one patch mends together."""
    yield from grouped(each for each in outcomes.of(view).findings if each.kind in KINDS)


def sorts_of(findings: tuple[Finding, ...]) -> set[str]:
    """Return what one patch has to mend: a load and what it flushes are two sorts."""
    return {_sort_of(each) for each in findings}


def _sort_of(finding: Finding) -> str:
    if finding.kind == "n_plus_one_write":
        return "write"
    return "load" if "." in finding.subject else "issued"


def holds(view: View, findings: tuple[Finding, ...], outcomes: Outcomes) -> bool:
    """Tell whether a patch is offered, and see to it that it does what was promised."""
    patch = outcomes.patch_of(view, findings)
    if not patch.holds:
        assert patch.reason
        assert patch.diff == ""
        assert findings[0].fix
        return False
    assert patch.draft is not None
    check(view, patch.draft, outcomes)
    return True


def check(view: View, draft: Draft, outcomes: Outcomes) -> None:
    """See to it that a view with a patch says the same, leaves the same rows and asks less."""
    said, statements, rows = outcomes.run_text(view, None)
    said_with, statements_with, rows_with = outcomes.run_text(view, draft.text)
    diff = draft.source.diff(draft.text)
    assert said_with == said, diff
    assert rows_with == rows, diff
    assert statements_with < statements, diff


@pytest.fixture(scope="module")
def score() -> dict[str, Counter[str]]:
    return {"held": Counter(), "all": Counter()}


@only_sqlite
@pytest.mark.slow
@pytest.mark.parametrize("view", guilty, ids=lambda view: view.name)
def test_a_patch_that_is_offered_holds(
    view: View, outcomes: Outcomes, score: dict[str, Counter[str]]
) -> None:
    for findings in places(view, outcomes):
        score["all"].update(sorts_of(findings))
        if holds(view, findings, outcomes):
            score["held"].update(sorts_of(findings))


@on_postgresql
@pytest.mark.slow
@pytest.mark.parametrize("view", of_each_sort, ids=lambda view: view.name)
def test_a_patch_does_the_same_on_postgresql(view: View, outcomes: Outcomes) -> None:
    (findings,) = places(view, outcomes)
    check(view, outcomes.draft_of(view, findings), outcomes)


@only_sqlite
@pytest.mark.slow
@pytest.mark.thorough
def test_patches_hold_for_most(outcomes: Outcomes, score: dict[str, Counter[str]]) -> None:
    """Add up what the views before were judged: run this whole file, in one process."""
    everything = Counter(
        sort
        for view in guilty
        for findings in places(view, outcomes)
        for sort in sorts_of(findings)
    )
    assert score["all"] == everything
    print({sort: f"{score['held'][sort]} of {of}" for sort, of in everything.items()})
    for sort, least in LEAST.items():
        assert score["held"][sort] / everything[sort] >= least, score


@only_sqlite
@pytest.mark.parametrize("view", innocent, ids=lambda view: view.name)
def test_an_innocent_view_gets_no_patch(view: View, outcomes: Outcomes) -> None:
    assert list(places(view, outcomes)) == []
