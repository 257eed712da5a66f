from __future__ import annotations

from pathlib import Path

from flask import Flask

from flask_perfkit import PerfKit


def test_the_command_copies_the_files_and_overwrites_none(tmp_path: Path) -> None:
    app = Flask("shop", root_path=".")
    PerfKit(app)
    runner = app.test_cli_runner()
    directory = tmp_path / "monitoring"
    result = runner.invoke(args=["perfkit", "monitoring", str(directory)])
    assert result.exit_code == 0, result.output
    rules = directory / "alert.rules.yml"
    assert f"written: {rules}" in result.output
    assert (directory / "dashboard.json").read_text().startswith("{")

    rules.write_text("mine")
    result = runner.invoke(args=["perfkit", "monitoring", str(directory)])
    assert result.exit_code == 1
    assert "is there already" in result.output
    assert rules.read_text() == "mine"
