"""The fixture ``perfkit``: assertions about a block of a test."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Run = Callable[..., pytest.RunResult]


def test_assert_queries_allows_at_most(run: Run, place: str) -> None:
    result = run(
        test_shop="""
def test_enough(client, perfkit):
    with perfkit.assert_queries(max=8) as block:
        client.get("/users")
    assert block.count == 8

def test_too_many(client, perfkit):
    with perfkit.assert_queries(max=7):
        client.get("/users")
"""
    )

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            ">       with perfkit.assert_queries(max=7):",
            "E       flask_perfkit.errors.BudgetExceeded: 8 queries, at most 7 allowed:",
            "E             7 x SELECT ... FROM document WHERE ? = document.user_id",
            f"E                 at {place} in *list_users",
        ]
    )
    result.stdout.no_fnmatch_line("*assertions.py*")


def test_assert_queries_expects_exactly(run: Run) -> None:
    result = run(
        test_shop="""
def test_equal(client, perfkit):
    with perfkit.assert_queries(exact=2):
        client.get("/cured")

def test_fewer(client, perfkit):
    with perfkit.assert_queries(exact=3):
        client.get("/cured")

def test_none(perfkit):
    with perfkit.assert_queries(exact=1):
        pass
"""
    )

    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(
        ["E*BudgetExceeded: 2 queries, exactly 3 expected:", "E*: 0 queries, exactly 1 expected"]
    )


def test_assert_no_findings(run: Run, place: str) -> None:
    result = run(
        test_shop="""
def test_found(client, perfkit):
    with perfkit.assert_no_findings():
        client.get("/users")

def test_duplicate(client, perfkit):
    with perfkit.assert_no_findings():
        client.get("/again")

def test_another_kind(client, perfkit):
    with perfkit.assert_no_findings(kinds=["n_plus_one"]):
        client.get("/again")

def test_cured(client, perfkit):
    with perfkit.assert_no_findings():
        client.get("/cured")
"""
    )

    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines(
        [
            f"E*FindingError: n_plus_one: User.documents loaded 7 times (*) at {place} in *",
            "E*FindingError: duplicate_query: 6 executions of SELECT user.name FROM user*",
        ]
    )


def test_an_error_inside_a_block_is_not_replaced(run: Run) -> None:
    result = run(
        test_shop="""
import pytest

def test_error(client, perfkit):
    with pytest.raises(ZeroDivisionError):
        with perfkit.assert_queries(max=0), perfkit.assert_no_findings():
            client.get("/users")
            1 / 0
"""
    )

    result.assert_outcomes(passed=1)


def test_blocks_nest(run: Run) -> None:
    result = run(
        "--perfkit",
        test_shop="""
def test_nested(client, perfkit):
    with perfkit.assert_queries(exact=3):
        with perfkit.assert_queries(exact=1):
            client.get("/users/1")
        with perfkit.assert_queries(exact=2):
            client.get("/cured")
""",
    )

    result.assert_outcomes(passed=1)


@pytest.mark.parametrize("option", ["--perfkit", "-q"])
def test_allow_silences_everything_that_would_complain(run: Run, option: str) -> None:
    result = run(
        option,
        test_shop="""
import pytest
from flask_perfkit import FindingError

@pytest.fixture
def settings():
    return {"PERFKIT_ON_FINDING": "raise"}

def test_allowed(client, perfkit):
    with perfkit.assert_no_findings():
        with perfkit.allow("n_plus_one", "User.documents", reason="seven users"):
            assert client.get("/users").status_code == 200

def test_only_inside(client, perfkit):
    with perfkit.allow("n_plus_one", "User.documents"):
        client.get("/users")
    with pytest.raises(FindingError), perfkit.allow("n_plus_one", "User.friends"):
        client.get("/users")
    with pytest.raises(FindingError):
        client.get("/users")

@pytest.fixture
def quietly(perfkit):
    with perfkit.allow("n_plus_one"):
        yield

def test_in_a_fixture(client, quietly):
    client.get("/users")
""",
    )

    # With --perfkit the second test fails by what it shows on purpose.
    expected = {"passed": 2, "failed": 1} if option == "--perfkit" else {"passed": 3}
    result.assert_outcomes(**expected)


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        ("assert_queries()", "ValueError: give either max=..., or exact=..."),
        ("assert_queries(max=1, exact=1)", "ValueError: give either max=..., or exact=..."),
        ("assert_queries(max=-1)", "ValueError: the limit is -1; allowed is a whole number*"),
        ("assert_queries(exact=True)", "ValueError: the limit is True; allowed is a whole number*"),
        ("assert_no_findings(['slow'])", "ValueError: 'slow' is no kind of finding; allowed is*"),
        ("allow('slow')", "ValueError: 'slow' is no kind of finding; allowed is n_plus_one,*"),
    ],
)
def test_refuses_what_makes_no_sense(run: Run, call: str, complaint: str) -> None:
    result = run(
        test_shop=f"""
def test_it(perfkit):
    perfkit.{call}
"""
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"E*{complaint}"])
