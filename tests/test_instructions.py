"""What watching costs, in Python instructions over the bare application.

They are exact and repeatable, where a duration is neither.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("instructions.py")

KINDS = ("bare", "watched", "measured", "shared", "passed", "kept", "unwatched", "traced")

Figures = dict[str, dict[str, int]]
"""Kind -> path -> instructions."""


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> Figures:
    """Count in one process a kind, side by side."""
    shared = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path_factory.mktemp("figures"))}
    environment = os.environ | {"PYTHONPATH": str(SCRIPT.parents[1]), "PYTHONHASHSEED": "0"}
    processes = {
        kind: subprocess.Popen(
            [sys.executable, str(SCRIPT), kind],
            stdout=subprocess.PIPE,
            text=True,
            env=environment | (shared if kind == "shared" else {}),
        )
        for kind in (
            "bare",
            "watched",
            "measured",
            "shared",
            "passed",
            "kept",
            "unwatched",
            "traced",
        )
    }
    outputs = {kind: process.communicate(timeout=100)[0] for kind, process in processes.items()}
    return {kind: json.loads(output) for kind, output in outputs.items()}


def over_bare(figures: Figures, kind: str, path: str) -> int:
    return figures[kind][path] - figures["bare"][path]


def test_a_request_without_a_query(figures: Figures) -> None:
    assert over_bare(figures, "watched", "/plain") <= 200


@pytest.mark.parametrize("kind", ["measured", "shared"])
def test_a_request_that_is_counted_for_prometheus(figures: Figures, kind: str) -> None:
    """In memory, and in a file that other workers read; a query costs nothing more."""
    assert over_bare(figures, kind, "/plain") <= 320
    four, one = (over_bare(figures, kind, f"/queries/{count}") for count in (4, 1))
    assert (four - one) / 3 <= 130


def test_a_request_that_is_stored(figures: Figures) -> None:
    """One that is counted only, and one that is kept; a query costs nothing more."""
    for kind, most in (("passed", 40), ("kept", 400)):
        assert figures[kind]["/plain"] - figures["watched"]["/plain"] <= most
        four, one = (over_bare(figures, kind, f"/queries/{count}") for count in (4, 1))
        assert (four - one) / 3 <= 130


def test_a_warm_query(figures: Figures) -> None:
    four, one = (over_bare(figures, "watched", f"/queries/{count}") for count in (4, 1))
    assert (four - one) / 3 <= 130


def test_a_query_that_nothing_watches(figures: Figures) -> None:
    twenty, none = (over_bare(figures, "unwatched", path) for path in ("/queries/20", "/plain"))
    assert (twenty - none) / 20 <= 40


def test_an_n_plus_one(figures: Figures) -> None:
    """101 statements, their analysis and the finding's line in the log."""
    assert figures["watched"]["/n_plus_one"] / figures["bare"]["/n_plus_one"] <= 1.03


def test_traces(figures: Figures) -> None:
    """The official Flask and SQLAlchemy instrumentations take 9,482 and 2,254 more, measured."""
    assert over_bare(figures, "traced", "/plain") <= 9_482 / 2
    four, one = (over_bare(figures, "traced", f"/queries/{count}") for count in (4, 1))
    assert (four - one) / 3 <= 2_000
