"""``@pytest.mark.perfkit(max_queries=...)``: the most queries that a test may send."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Run = Callable[..., pytest.RunResult]


def test_fails_above_its_number_and_lists_what_was_sent(run: Run, place: str) -> None:
    result = run(
        test_shop="""
import pytest

@pytest.mark.perfkit(max_queries=7)
def test_too_many(client):
    client.get("/users")

@pytest.mark.perfkit(max_queries=8)
def test_just_enough(client):
    client.get("/users")
"""
    )

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "@pytest.mark.perfkit(max_queries=7): 8 queries, at most 7 allowed:",
            "      7 x SELECT ... FROM document WHERE ? = document.user_id",
            f"          at {place} in *list_users",
            "      1 x SELECT ... FROM user",
            "          at shop.py:* in *list_users",
        ]
    )


def test_transactions_do_not_count(run: Run) -> None:
    result = run(
        test_shop="""
import pytest

@pytest.mark.perfkit(max_queries=1)
def test_add(client):
    assert client.post("/users").status_code == 201
"""
    )

    result.assert_outcomes(passed=1)  # SAVEPOINT, INSERT, RELEASE


def test_the_closest_marker_counts(run: Run) -> None:
    result = run(
        test_shop="""
import pytest

pytestmark = pytest.mark.perfkit(max_queries=0)

def test_file(client):
    client.get("/users/1")

@pytest.mark.perfkit(max_queries=1)
def test_own(client):
    client.get("/users/1")
"""
    )

    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*(max_queries=0): 1 query, at most 0 allowed:"])


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("max_queries='3'", "the limit is '3'; allowed is a whole number from 0 on"),
        ("max=3", "allowed is max_queries=..."),
        ("3", "allowed is max_queries=..."),
        ("", "allowed is max_queries=..."),
    ],
)
def test_says_what_it_takes(run: Run, arguments: str, complaint: str) -> None:
    result = run(
        test_shop=f"""
import pytest

@pytest.mark.perfkit({arguments})
def test_marked():
    pass
"""
    )

    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"@pytest.mark.perfkit({arguments}): {complaint}"])


def test_is_known_to_pytest(run: Run) -> None:
    result = run("--markers")

    result.stdout.fnmatch_lines(["@pytest.mark.perfkit(max_queries): fail the test when it sends*"])
