"""``--perfkit-record``: which statements the tests send, in a file."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

Run = Callable[..., pytest.RunResult]

USERS = """
import pytest

@pytest.mark.parametrize("number", [1, 2, 3])
def test_users(client, number):
    client.get(f"/users/{number}")
    assert number < 3
"""


@pytest.mark.parametrize("options", [(), ("-n", "2")])
def test_what_tests_send_is_written(
    run: Run, pytester: pytest.Pytester, options: tuple[str, ...]
) -> None:
    """A test that fails is left out, as it may have sent less; values never stand there."""
    result = run("--perfkit-record=work.json", *options, test_users=USERS)

    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        ["work.json: written, 1 statement: flask perfkit indexes --workload work.json"]
    )
    written = json.loads((pytester.path / "work.json").read_text())
    assert (written["file"], written["version"]) == ("flask-perfkit workload", 1)
    (statement,) = written["statements"]
    assert statement["sql"].endswith("FROM user WHERE user.id = ?")
    assert statement["count"] == 2
    assert statement["seconds"] >= 0
    assert statement["place"].rpartition(":")[0].endswith(".py")


def test_a_directory_that_is_missing(run: Run) -> None:
    result = run("--perfkit-record=missing/work.json", test_users=USERS)

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--perfkit-record=missing/work.json: there is no *missing*"])
