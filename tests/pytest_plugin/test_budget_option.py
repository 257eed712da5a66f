"""``--perfkit-budget``: what each test may send, in a file; and its update."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., pytest.RunResult]

USERS = """
def test_users(client):
    client.get("/users")
"""
SHOW = """
import pytest

@pytest.mark.parametrize("id", [1, 7])
def test_show(client, id):
    client.get(f"/users/{id}")

def test_nothing():
    pass
"""
BUDGET = """\
# The statements that each test may send. A test that is not listed may send none.
# Written by pytest --perfkit-budget=FILE --perfkit-update-budget

test_show.py::test_show[1]
    1 SELECT ... FROM user WHERE user.id = ?

test_show.py::test_show[7]
    1 SELECT ... FROM user WHERE user.id = ?

test_users.py::test_users
    7 SELECT ... FROM document WHERE ? = document.user_id
    1 SELECT ... FROM user
"""

CHECK = "--perfkit-budget=budget.txt"
UPDATE = ("--perfkit-budget=budget.txt", "--perfkit-update-budget")


@pytest.fixture
def budget(pytester: pytest.Pytester) -> Path:
    return pytester.path / "budget.txt"


def test_update_writes_what_is_sent(run: Run, budget: Path) -> None:
    result = run(*UPDATE, test_users=USERS, test_show=SHOW)

    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["budget.txt: written, 3 tests"])
    assert budget.read_text() == BUDGET


def test_a_test_within_its_budget_passes(run: Run, budget: Path) -> None:
    budget.write_text(BUDGET)

    run(CHECK, test_users=USERS, test_show=SHOW).assert_outcomes(passed=4)
    assert budget.read_text() == BUDGET


def test_growth_fails_and_is_named(run: Run, budget: Path, place: str) -> None:
    budget.write_text(BUDGET.replace("7 SELECT", "2 SELECT"))
    users = USERS + '    client.get("/users/1")\n    client.post("/users")\n'

    result = run(CHECK, test_users=users, test_show=SHOW)

    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(
        [
            "budget.txt allows less than this test sends.",
            "    allowed  sent",
            "       none     1  INSERT INTO user (...) VALUES (...)",
            "                   at shop.py:* in *add_user",
            "       none     1  SELECT ... FROM user WHERE user.id = ?",
            "                   at shop.py:* in *show_user",
            "          2     7  SELECT ... FROM document WHERE ? = document.user_id",
            f"                   at {place} in *list_users",
            "    pytest --perfkit-budget=budget.txt --perfkit-update-budget",
        ],
        consecutive=False,
    )
    result.stdout.no_fnmatch_line("*SAVEPOINT*")
    result.stdout.no_fnmatch_line("*SELECT ... FROM user")  # as many as allowed


def test_less_than_allowed_passes_and_is_mentioned(run: Run, budget: Path) -> None:
    budget.write_text(BUDGET.replace("7 SELECT", "8 SELECT"))

    result = run(CHECK, test_users=USERS, test_show=SHOW)

    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["budget.txt allows more than 1 of the tests send: *update-budget"])


def test_a_test_that_is_not_listed_may_send_nothing(run: Run, budget: Path) -> None:
    budget.write_text("# empty\n")

    result = run(CHECK, test_show=SHOW)

    result.assert_outcomes(passed=1, failed=2)  # test_nothing passes
    result.stdout.fnmatch_lines(["budget.txt has no budget for what this test sends."])


def test_fixtures_do_not_count(run: Run, budget: Path) -> None:
    fixture = """
import pytest

@pytest.fixture
def asked(client):
    client.get("/users")

def test_nothing(asked):
    pass
"""
    run(*UPDATE, test_asked=fixture).assert_outcomes(passed=1)

    assert "test_nothing" not in budget.read_text()


def test_update_keeps_tests_that_fail_or_do_not_run(run: Run, budget: Path) -> None:
    budget.write_text(BUDGET.replace("7 SELECT", "3 SELECT").replace("1 SELECT", "5 SELECT"))

    run(*UPDATE, "-k", "7 or users", test_users=USERS + "    assert 0", test_show=SHOW)

    assert budget.read_text().splitlines()[3:] == [
        "test_show.py::test_show[1]",
        "    5 SELECT ... FROM user WHERE user.id = ?",
        "",
        "test_show.py::test_show[7]",
        "    1 SELECT ... FROM user WHERE user.id = ?",
        "",
        "test_users.py::test_users",
        "    3 SELECT ... FROM document WHERE ? = document.user_id",
        "    5 SELECT ... FROM user",
    ]


def test_update_keeps_tests_that_fail_by_another_option(run: Run, budget: Path) -> None:
    budget.write_text(BUDGET.replace("7 SELECT", "3 SELECT"))
    too_many = "import pytest\n\n@pytest.mark.perfkit(max_queries=1)" + USERS

    run(*UPDATE, test_users=too_many, test_show=SHOW).assert_outcomes(passed=3, failed=1)

    assert budget.read_text() == BUDGET.replace("7 SELECT", "3 SELECT")


def test_update_forgets_tests_that_are_gone(run: Run, budget: Path) -> None:
    statement = "    1 SELECT ... FROM user\n"
    gone = f"test_show.py::test_gone\n{statement}\ntest_other.py::test_other\n{statement}"
    budget.write_text(f"{BUDGET}\n{gone}")

    run(*UPDATE, "test_show.py::test_nothing", test_users=USERS, test_show=SHOW)
    assert "test_gone" in budget.read_text()  # the file was not looked at as a whole

    run(*UPDATE, "-k", "users")
    assert "test_gone" not in budget.read_text()
    assert "test_other" in budget.read_text()  # its file may be in another directory


def test_update_forgets_nothing_that_it_cannot_collect(run: Run, budget: Path) -> None:
    budget.write_text(BUDGET)

    run(
        *UPDATE, "--continue-on-collection-errors", test_users="import nothing_such", test_show=SHOW
    )
    run(*UPDATE, "--collect-only", test_users="def test_other(): pass", test_show=SHOW)

    assert budget.read_text() == BUDGET


def test_update_writes_nothing_when_the_run_breaks_off(run: Run, budget: Path) -> None:
    run(*UPDATE, test_users="import nothing_such", test_show=SHOW)

    assert not budget.exists()


def test_the_last_of_several_runs_counts(run: Run, budget: Path, pytester: pytest.Pytester) -> None:
    """A rerun as pytest-rerunfailures makes it: the protocol again until the test passes."""
    pytester.syspathinsert()
    pytester.makepyfile(
        rerun="""
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item, nextitem):
    reports = runtestprotocol(item, nextitem=nextitem, log=False)
    if any(report.failed for report in reports):
        item._initrequest()
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    return True
"""
    )
    flaky = """
tries = []

def test_flaky(client):
    tries.append(client.get("/users" if not tries else "/users/1"))
    assert len(tries) == 2
"""
    run(*UPDATE, "-p", "rerun", test_flaky=flaky).assert_outcomes(passed=1)

    assert budget.read_text().splitlines()[3:] == [
        "test_flaky.py::test_flaky",
        "    1 SELECT ... FROM user WHERE user.id = ?",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("distribution", ["load", "loadgroup"])
def test_is_the_same_under_xdist(run: Run, budget: Path, distribution: str) -> None:
    pytest.importorskip("xdist")
    workers = ("-n", "2", "--dist", distribution)
    grouped = SHOW.replace("@pytest.mark.par", "@pytest.mark.xdist_group('a')\n@pytest.mark.par")
    gone = "test_show.py::test_gone\n    1 SELECT ... FROM user\n\n"
    budget.write_text(gone)

    run(*UPDATE, *workers, test_users=USERS, test_show=grouped).assert_outcomes(passed=4)
    assert budget.read_text() == BUDGET

    budget.write_text(BUDGET.replace("7 SELECT", "6 SELECT"))
    result = run(CHECK, *workers, test_users=USERS, test_show=grouped)
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["          6     7  SELECT ... FROM document WHERE *"])


@pytest.mark.parametrize(
    ("options", "text", "complaint"),
    [
        ((CHECK,), None, "*there is no file */budget.txt; write it with --perfkit-update-budget"),
        (("--perfkit-budget=a/b.txt", UPDATE[1]), None, "*no file */a/b.txt; its directory is*"),
        (("--perfkit-update-budget",), None, "*needs --perfkit-budget=FILE as well"),
        ((CHECK,), "<<<<<<< HEAD\n", "*budget.txt: line 1 is '<<<<<<< HEAD'; allowed is a test*"),
        ((CHECK,), "    1 SELECT\n", "*budget.txt: line 1 is '    1 SELECT'; allowed is a test*"),
        ((CHECK,), "a.py::b\n    x SELECT\n", "*budget.txt: line 2 is '    x SELECT'; allowed*"),
    ],
)
def test_refuses_a_file_that_is_no_budget(
    run: Run, budget: Path, options: tuple[str, ...], text: str | None, complaint: str
) -> None:
    if text is not None:
        budget.write_text(text)

    result = run(*options, test_users=USERS)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: --perfkit-{complaint}"])
