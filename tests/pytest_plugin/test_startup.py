"""The plugin is imported by every run of pytest, so it must cost nothing until it is asked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOADED = """
import sys
import pytest
before = set(sys.modules)
import flask_perfkit.pytest_plugin
print(*sorted(set(sys.modules) - before))
"""


def test_importing_the_plugin_imports_nothing_else() -> None:
    result = subprocess.run(
        [sys.executable, "-c", LOADED], capture_output=True, text=True, timeout=60, check=True
    )

    assert result.stdout.split() == ["flask_perfkit", "flask_perfkit.pytest_plugin"]


def test_a_run_without_it_imports_neither_flask_nor_sqlalchemy(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    pytester.makepyfile(
        """
        import sys

        def test_plain():
            assert not {"flask", "sqlalchemy", "flask_perfkit.testing"} & set(sys.modules)
        """
    )
    plugin = ("-p", "flask_perfkit.pytest_plugin")

    result = pytester.runpytest_subprocess("-p", "no:perfkit", *plugin, "-p", "no:cacheprovider")

    result.assert_outcomes(passed=1)
