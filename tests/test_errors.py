from __future__ import annotations

import json

import pytest
from flask import Flask

import flask_perfkit
from flask_perfkit import Finding
from flask_perfkit.errors import (
    BudgetExceeded,
    CursorError,
    ExtraMissing,
    FindingError,
    ParameterError,
    PerfKitError,
    SettingsError,
    SetupError,
    StoreError,
)

TREE = {
    SettingsError: ValueError,
    SetupError: RuntimeError,
    ExtraMissing: ImportError,
    StoreError: ConnectionError,
    ParameterError: ValueError,
    CursorError: ValueError,
    FindingError: AssertionError,
    BudgetExceeded: AssertionError,
}


@pytest.mark.parametrize(("error", "builtin"), TREE.items())
def test_each_error_is_ours_and_the_builtin_that_a_caller_expects(
    error: type[Exception], builtin: type[Exception]
) -> None:
    assert issubclass(error, PerfKitError)
    assert issubclass(error, builtin)


def test_every_error_is_public() -> None:
    for error in (PerfKitError, *TREE):
        assert getattr(flask_perfkit, error.__name__) is error
        assert error.__name__ in flask_perfkit.__all__


def test_a_missing_extra_names_what_to_install() -> None:
    error = ExtraMissing("Sealed cursors", "sealed")
    assert str(error) == (
        "Sealed cursors needs a package that is not installed: pip install 'flask-perfkit[sealed]'"
    )
    assert error.extra == "sealed"


def test_findings_are_told_line_by_line() -> None:
    findings = tuple(
        Finding("n_plus_one", "User.documents", f"n_plus_one: {number}", "fix") for number in (1, 2)
    )
    error = FindingError(findings)
    assert str(error) == "n_plus_one: 1\nn_plus_one: 2"
    assert error.findings == findings


@pytest.mark.parametrize(
    ("error", "errors"),
    [
        (
            ParameterError({"page": ["Not a valid integer."], "sort": ["Unknown.", "Again."]}),
            {"page": ["Not a valid integer."], "sort": ["Unknown.", "Again."]},
        ),
        (CursorError("Of another query."), {"cursor": ["Of another query."]}),
    ],
    ids=["parameter", "cursor"],
)
def test_a_bad_parameter_is_answered_as_a_problem(
    error: ParameterError, errors: dict[str, list[str]]
) -> None:
    app = Flask("shop", root_path=".")

    @app.get("/")
    def show() -> str:
        raise error

    response = app.test_client().get("/")
    assert (response.status_code, response.mimetype) == (400, "application/problem+json")
    problem = json.loads(response.data)
    assert problem == {
        "type": "about:blank",
        "title": "Bad Request",
        "status": 400,
        "detail": str(error),
        "errors": errors,
    }
    assert all(name in str(error) for name in errors)
