"""The index advice of the audit: the application's own GET routes are the workload."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from flask_perfkit.advice.advise import advise
from flask_perfkit.advice.workload import RecordedStatement, Workload
from flask_perfkit.audit.survey import Progress, survey

if TYPE_CHECKING:
    from flask import Flask

    from flask_perfkit.advice.advice import Advice
    from flask_perfkit.advice.planners.access import Method


def index_advice(
    app: Flask,
    *,
    paths: Iterable[str] = (),
    headers: Iterable[tuple[str, str]] = (),
    login: str | None = None,
    verify: bool = False,
    method: Method | None = None,
    progress: Progress = lambda address, number, total: None,
) -> Advice:
    """Ask each endpoint as the audit does, and advise on the indexes of what they asked.

    :raises SetupError: as ``advise`` does.
    """
    seen = survey(app, paths=paths, headers=headers, login=login, progress=progress)
    return advise(seen.workload, verify=verify, method=method, guessed=True)


def index_advice_on(
    app: Flask,
    statements: Iterable[RecordedStatement],
    *,
    verify: bool,
    method: Method | None,
) -> Advice:
    """Advise on statements that were recorded elsewhere, and ask no endpoint.

    :raises SetupError: as ``advise`` does.
    """
    workload = Workload(app)
    workload.include(statements)
    return advise(workload, verify=verify, method=method, guessed=True)
