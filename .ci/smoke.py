"""Start the example application as a newcomer does, ask its endpoints, and stop it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

FLASK = (sys.executable, "-m", "flask", "--app", "example_app")
DOCUMENTS = 2000
PAGE = "/documents?page=2&page_size=20&sort=-uploaded_at"


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        os.environ["DATABASE_URL"] = f"sqlite:///{directory}/smoke.db"
        _flask("db", "upgrade")
        _flask("seed", "--documents", str(DOCUMENTS))
        with _served(Path(directory) / "log") as address:
            _check_answers(address)
        log = (Path(directory) / "log").read_text()
        assert "n_plus_one" in log, f"the log names no n_plus_one:\n{log}"
    print("smoke: all well")


def _flask(*arguments: str) -> None:
    print("$ flask --app example_app", *arguments, flush=True)
    subprocess.run([*FLASK, *arguments], check=True, timeout=120)


@contextmanager
def _served(log: Path) -> Iterator[str]:
    """Serve on a free port; the address is the one that the server prints."""
    command = [*FLASK, "run", "--debug", "--no-reload", "--port", "0"]
    print("$ flask --app example_app run --debug", flush=True)
    with log.open("w") as output, subprocess.Popen(command, stderr=output) as server:
        try:
            yield _address(log, server)
        finally:
            server.terminate()


def _address(log: Path, server: subprocess.Popen[bytes]) -> str:
    for _ in range(200):
        if found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text()):
            return found[0]
        try:
            server.wait(0.1)
        except subprocess.TimeoutExpired:
            continue
        break
    raise RuntimeError(f"the server did not start:\n{log.read_text()}")


def _check_answers(address: str) -> None:
    assert _get(address + "/health")
    page = _get(address + PAGE)
    assert (page["total"], page["page"], len(page["items"])) == (DOCUMENTS, 2, 20), page
    uploaded = [item["uploaded_at"] for item in page["items"]]
    assert uploaded == sorted(uploaded, reverse=True), uploaded
    analytics = _get(address + "/analytics")
    assert analytics["documents"] == DOCUMENTS, analytics
    assert _get(address + "/before/analytics") == analytics


def _get(url: str) -> dict[str, object]:
    with urlopen(url, timeout=30) as response:
        print(response.status, url, response.headers.get("Server-Timing", ""), flush=True)
        return json.load(response)


if __name__ == "__main__":
    main()
