"""The judge can say no: a finding that is wrong in one respect is told to be wrong in that one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from flask_perfkit import Finding

from .judge import judge
from .runner import View, all_views


def _view(name: str) -> View:
    return next(view for view in all_views() if view.name == name)


@pytest.fixture
def view() -> View:
    return _view("shared_lines.mapped_function")


@pytest.fixture
def right(view: View) -> Finding:
    (label,), (caller,), (origin,) = view.of("FINDING"), view.of("CALLER"), view.of("ORIGIN")
    filename, lineno = label.line
    return Finding(
        kind="n_plus_one",
        subject="Order.customer",
        message="",
        fix="joinedload( Order.customer )",
        count=12,
        filename=filename,
        lineno=lineno,
        function="customer_name",
        callers=((*caller.line, 12),),
        origin=origin.line,
    )


def test_right_finding(view: View, right: Finding) -> None:
    score, wrong = judge(view, [right])

    assert wrong == []
    assert {right == of == 1 for _, right, of in score.shares()} == {True}


@pytest.mark.parametrize(
    ("aspect", "change"),
    [
        ("subject", {"subject": "Order"}),
        ("line", {"lineno": 1}),
        ("function", {"function": "mapped"}),
        ("count", {"count": 11}),
        ("callers", {"callers": ()}),
        ("origin", {"origin": None}),
        ("fix", {"fix": "selectinload(Order.customer)"}),
    ],
)
def test_finding_that_is_wrong_in_one_respect(
    view: View, right: Finding, aspect: str, change: dict[str, Any]
) -> None:
    score, wrong = judge(view, [replace(right, **change)])
    not_right = [name for name, number, of in score.shares() if number < of]

    assert f"right {aspect}" in not_right
    assert any(text.startswith(f"wrong {aspect}") for text in wrong)
    assert score.matched == 1


def test_missing_and_superfluous_findings(view: View, right: Finding) -> None:
    other = replace(right, kind="n_plus_one_write")

    score, wrong = judge(view, [right, other, replace(right, kind="blocking_call")])
    assert (score.matched, score.made, score.required) == (1, 2, 1)
    assert [text.partition(":")[0] for text in wrong] == ["not in the labels"]

    score, wrong = judge(view, [])
    assert (score.matched, score.made, score.required) == (0, 0, 1)
    assert [text.partition(":")[0] for text in wrong] == ["not found"]


def test_allowed_finding_counts_neither_way(right: Finding) -> None:
    view = _view("paging.one_row_pages")
    filename, lineno = view.of("ALLOWED")[0].line
    allowed = replace(right, subject="Document", filename=filename, lineno=lineno)

    score, wrong = judge(view, [allowed])
    assert (score.matched, score.made, score.required, wrong) == (0, 0, 0, [])
    assert judge(view, [])[1] == []
