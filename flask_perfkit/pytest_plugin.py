"""The pytest plugin: a fixture, a marker and options that keep slow code out.

pytest imports this module in every run, so it imports nothing that is not needed.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from flask_perfkit.recording.profile import Profile
    from flask_perfkit.testing.assertions import Assertions
    from flask_perfkit.testing.budget_file import BudgetFile
    from flask_perfkit.testing.recording import WorkloadFile

_BUDGET = "perfkit-budget"
_WORKLOAD = "perfkit-workload"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("perfkit", "queries and performance findings (Flask-PerfKit)")
    group.addoption(
        "--perfkit",
        action="store_true",
        help="fail tests whose code does avoidable work: findings of severity error "
        "(n_plus_one, n_plus_one_write, unbounded_result, blocking_call, redis_keys)",
    )
    group.addoption(
        "--perfkit-budget",
        metavar="FILE",
        help="fail tests that send queries which FILE does not allow, or more of them (the "
        "path is relative to pytest's root directory)",
    )
    group.addoption(
        "--perfkit-update-budget",
        action="store_true",
        help="write to FILE what the tests that pass send now",
    )
    group.addoption(
        "--perfkit-record",
        metavar="FILE",
        help="write to FILE which statements the tests send, without values, for flask perfkit "
        "indexes --workload FILE (the path is relative to pytest's root directory)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and read the budget where one is asked for."""
    config.addinivalue_line(
        "markers",
        "perfkit(max_queries): fail the test when it sends more queries than that",
    )
    budget = config.getoption("perfkit_budget")
    update = config.getoption("perfkit_update_budget")
    if budget:
        from flask_perfkit.testing.budget_file import BudgetFile

        config.pluginmanager.register(BudgetFile(config.rootpath, budget, update=update), _BUDGET)
    elif update:
        raise pytest.UsageError("--perfkit-update-budget needs --perfkit-budget=FILE as well")
    workload = config.getoption("perfkit_record")
    if workload:
        from flask_perfkit.testing.recording import WorkloadFile

        config.pluginmanager.register(WorkloadFile(config.rootpath, workload), _WORKLOAD)


@pytest.fixture
def perfkit() -> Assertions:
    """Assert that a block of the test sends few queries or shows no finding.

    ``perfkit.assert_queries(max=3)``, ``perfkit.assert_no_findings()`` and ``perfkit.allow(...)``
    are context managers.
    """
    from flask_perfkit.testing.assertions import Assertions

    return Assertions()


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Watch what the test itself does; its fixtures were set up before."""
    if not _is_watched(item):
        return (yield)
    from flask_perfkit.testing.call_phase import TestBlock, recording_only_the_test

    with TestBlock(item) as block, recording_only_the_test(item, block.recorder):
        result = yield
    workload: WorkloadFile | None = item.config.pluginmanager.get_plugin(_WORKLOAD)
    if workload is not None:
        workload.add(block.profile)
    complaints = list(_complaints(item, block.profile))
    if complaints:
        pytest.fail("\n\n".join(complaints), pytrace=False)
    return result


def _is_watched(item: pytest.Item) -> bool:
    return (
        bool(item.config.getoption("perfkit"))
        or item.config.pluginmanager.has_plugin(_BUDGET)
        or item.config.pluginmanager.has_plugin(_WORKLOAD)
        or item.get_closest_marker("perfkit") is not None
        or "perfkit" in getattr(item, "fixturenames", ())
    )


def _complaints(item: pytest.Item, profile: Profile) -> Iterator[str]:
    from flask_perfkit.testing.call_phase import is_of_tests
    from flask_perfkit.testing.complaints import found

    marker = item.get_closest_marker("perfkit")
    if marker is not None:
        yield from _over_limit(marker, profile)
    if item.config.getoption("perfkit"):
        findings = [
            finding
            for finding in profile.findings
            if finding.severity == "error" and not is_of_tests(item, finding)
        ]
        if findings:
            yield found(findings)
    budget: BudgetFile | None = item.config.pluginmanager.get_plugin(_BUDGET)
    if budget is not None:
        yield from budget.complaints(item, profile)


def _over_limit(marker: pytest.Mark, profile: Profile) -> Iterator[str]:
    from flask_perfkit.testing.assertions import Limit

    complaint = "allowed is max_queries=..."
    if not marker.args and set(marker.kwargs) == {"max_queries"}:
        try:
            complaint = Limit(max=marker.kwargs["max_queries"]).complaint(profile)
        except ValueError as error:
            complaint = str(error)
    if complaint:
        arguments = [*map(repr, marker.args), *(f"{k}={v!r}" for k, v in marker.kwargs.items())]
        yield f"@pytest.mark.perfkit({', '.join(arguments)}): {complaint}"
