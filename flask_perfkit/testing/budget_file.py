"""The pytest option ``--perfkit-budget``: holds tests to a file, or writes it."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from flask_perfkit.recording.profile import Profile
from flask_perfkit.recording.wording import counted
from flask_perfkit.testing.budget import Budgets, Statements, excesses, parse, render, statements_of
from flask_perfkit.testing.complaints import beyond_budget

_TEST = pytest.StashKey[str]()
_SENT = pytest.StashKey[Statements]()
_REPORTED = "perfkit_sent"


class BudgetFile:
    """A budget file during one run.

    With pytest-xdist each worker holds its tests to the file. What they sent reaches the
    controller with their reports, and the controller alone writes.

    :param name: the path, relative to ``root``.
    :param update: write what is sent instead of comparing it.
    :raises pytest.UsageError: there is no such file to compare with, or it cannot be read.
    """

    def __init__(self, root: Path, name: str, *, update: bool) -> None:
        self._path = root / name
        self._name = name
        self._update = update
        self._allowed = _read(self._path, name, update=update)
        self._sent: Budgets = {}
        self._gone: set[str] = set()
        self._is_written = False

    def complaints(self, item: pytest.Item, profile: Profile) -> Iterator[str]:
        """Say what a test sent that its budget does not allow."""
        sent = item.stash[_SENT] = statements_of(profile.causes)
        allowed = self._allowed.get(_id_of(item))
        beyond = excesses(allowed or {}, sent)
        if beyond and not self._update:
            yield beyond_budget(beyond, profile.causes, self._name, known=allowed is not None)

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Note a test's id before pytest-xdist adds its group to it."""
        item.stash[_TEST] = item.nodeid

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(
        self, session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Find the budgets of tests that are gone, where whole files were collected."""
        partly = any("::" in arg for arg in config.args) or config.getoption("lf", False)
        if partly or session.testsfailed:
            return
        tests = set(map(_id_of, items))
        files = {_file_of(test) for test in tests}
        self._gone = {
            test for test in self._allowed if _file_of(test) in files and test not in tests
        }

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Let the report of a test that passed carry what it sent."""
        report = yield
        if report.when == "call" and report.passed and _SENT in item.stash:
            setattr(report, _REPORTED, (_id_of(item), item.stash[_SENT]))
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take what a test sent, in the controller from all workers."""
        if hasattr(report, _REPORTED):
            test, sent = getattr(report, _REPORTED)
            self._sent[test] = sent

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take from a worker of pytest-xdist which tests are gone."""
        self._gone |= set(getattr(node, "workeroutput", {}).get("perfkit_gone", ()))

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Write the file, if that was asked for and the run came to its end."""
        if hasattr(session.config, "workeroutput"):
            session.config.workeroutput["perfkit_gone"] = list(self._gone)
            return
        came_to_its_end = exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
        if self._update and came_to_its_end and not session.config.getoption("collectonly"):
            _write(self._path, render(self._renewed()))
            self._is_written = True

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what was written, or that less is sent than the file allows."""
        if self._is_written:
            terminalreporter.write_line(
                f"{self._name}: written, {counted(len(self._renewed()), 'test')}"
            )
        if self._update:
            return
        fewer = [test for test, sent in self._sent.items() if self._allows_more(test, sent)]
        if fewer:
            terminalreporter.write_line(
                f"{self._name} allows more than {len(fewer)} of the tests send: take that over "
                "with --perfkit-update-budget"
            )

    def _allows_more(self, test: str, sent: Statements) -> bool:
        return bool(excesses(allowed=sent, sent=self._allowed.get(test, {})))

    def _renewed(self) -> Budgets:
        """Return the budgets of those that passed as they are now, and the others' as they were."""
        renewed = {
            test: statements for test, statements in self._allowed.items() if test not in self._gone
        }
        renewed.update(self._sent)
        return {test: statements for test, statements in renewed.items() if statements}


def _read(path: Path, name: str, *, update: bool) -> Budgets:
    try:
        return parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if update and path.parent.is_dir():
            return {}
        raise pytest.UsageError(
            f"--perfkit-budget={name}: there is no file {path}; "
            + ("its directory is missing" if update else "write it with --perfkit-update-budget")
        ) from None
    except (OSError, ValueError) as error:
        raise pytest.UsageError(f"--perfkit-budget={name}: {error}") from None


def _write(path: Path, text: str) -> None:
    """Replace the file in one step: a run that is killed leaves the old one."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(text, encoding="utf-8")
    os.replace(new, path)


def _id_of(item: pytest.Item) -> str:
    return item.stash.get(_TEST, item.nodeid)


def _file_of(test: str) -> str:
    return test.partition("::")[0]
