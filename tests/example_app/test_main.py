from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def started(database: Path, documents: int = 50) -> Iterator[tuple[str, list[str]]]:
    """Run the one command; give the address it serves and what it printed until then."""
    port = free_port()
    with subprocess.Popen(
        [sys.executable, "-m", "example_app", "--port", str(port), "--documents", str(documents)],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": f"sqlite:///{database}", "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as server:
        printed = []
        for line in server.stdout:
            printed.append(line.rstrip())
            if "Press CTRL+C" in line:
                break
        try:
            yield f"http://127.0.0.1:{port}", printed
        finally:
            server.terminate()


def test_one_command_migrates_fills_and_serves(tmp_path: Path) -> None:
    for first in (True, False):
        with started(tmp_path / "example.db") as (address, printed):
            assert any("50 documents" in line for line in printed) == first, printed
            assert f"  {address}/before/analytics" in printed, printed
            with urlopen(f"{address}/analytics", timeout=10) as answer:
                assert json.load(answer)["documents"] == 50
            page = next(line for line in printed if "/documents?page=2" in line)
            with urlopen(page.strip(), timeout=10) as answer:
                assert answer.status == 200


def test_a_filled_database_is_left_as_it_is_and_said_to_be(tmp_path: Path) -> None:
    with started(tmp_path / "example.db"):
        pass
    with started(tmp_path / "example.db", documents=60) as (address, printed):
        assert any("holds 50 documents already: --documents fills" in line for line in printed)
        with urlopen(address, timeout=10) as answer:
            assert "/before/analytics" in json.load(answer)
