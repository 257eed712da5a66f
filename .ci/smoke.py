"""Start the example application as the README does, ask what a newcomer would, and stop it."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

TUTORIAL = Path(__file__).parents[1] / "docs" / "tutorial" / "example-app.md"
MEASURED = re.compile(r"[\d.,]+ (?:ms|Document objects)")
DOCUMENTS = 2000
SECONDS_TO_START = 60


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory) / "log"
        with _served(f"sqlite:///{directory}/smoke.db", log) as address:
            _check_answers(address)
        _check_log(log.read_text())
    print("smoke: all well")


@contextmanager
def _served(database_url: str, log: Path) -> Iterator[str]:
    port = _free_port()
    command = ["-m", "example_app", "--port", str(port), "--documents", str(DOCUMENTS)]
    print("$ python", *command, flush=True)
    with (
        log.open("w") as output,
        subprocess.Popen(
            [sys.executable, *command],
            env=os.environ | {"DATABASE_URL": database_url},
            stdout=output,
            stderr=subprocess.STDOUT,
        ) as server,
    ):
        try:
            _wait_until_served(port, server, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_served(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(SECONDS_TO_START * 10):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if server.poll() is not None:
            break
        time.sleep(0.1)
    raise RuntimeError(f"the example application did not start:\n{log.read_text()}")


def _check_answers(address: str) -> None:
    _get(f"{address}/health")
    page = _get(f"{address}/documents?page=2&page_size=20&sort=-uploaded_at")
    assert (page["total"], page["page"], len(page["items"])) == (DOCUMENTS, 2, 20), page
    uploaded = [item["uploaded_at"] for item in page["items"]]
    assert uploaded == sorted(uploaded, reverse=True), uploaded
    analytics = _get(f"{address}/analytics")
    assert analytics["documents"] == DOCUMENTS, analytics
    assert _get(f"{address}/before/analytics") == analytics
    with urlopen(f"{address}/metrics", timeout=10) as response:
        page = response.read().decode()
    assert 'http_requests_total{method="GET",route="/documents",status="200"} 1.0' in page, page


def _check_log(log: str) -> None:
    """Find the finding of the tutorial in the log, but for the time and the size."""
    (promised,) = re.findall(
        r"^n_plus_one: .*$", TUTORIAL.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert MEASURED.sub("", promised) in MEASURED.sub("", log), f"{promised}\nis not in\n{log}"


def _get(url: str) -> Any:
    with urlopen(url, timeout=30) as response:
        print(response.status, url, response.headers.get("Server-Timing", ""), flush=True)
        return json.load(response)


if __name__ == "__main__":
    main()
