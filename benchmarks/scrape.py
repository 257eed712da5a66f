"""Measure what a scrape costs when several workers have counted many routes.

    python benchmarks/scrape.py [--workers 4] [--routes 50] [--restarts 40]

The workers are forked, ask each route twice and end; others take their place, as a server does
that restarts its workers after so many requests. Another process is scraped all the while.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from flask import Flask

from flask_perfkit import PerfKit

_SCRAPES = 30
_MILLISECONDS = 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--routes", type=int, default=50)
    parser.add_argument("--restarts", type=int, default=40)
    options = parser.parse_args()
    with TemporaryDirectory() as directory:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = directory
        app = _app(options.routes)
        workers = [_Worker(app, options.routes) for _ in range(options.workers)]
        _tell(app, directory, "at the start")
        for number in range(options.restarts):
            workers.pop(0).end()
            workers.append(_Worker(app, options.routes))
            _scrape(app)
            if number + 1 in (options.restarts // 2, options.restarts):
                _tell(app, directory, f"after {number + 1} restarts")
        for worker in workers:
            worker.end()


class _Worker:
    """A forked process that has counted and waits for its end."""

    def __init__(self, app: Flask, routes: int) -> None:
        ready, ready_told = os.pipe()
        over, self._over = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._over)
            client = app.test_client()
            for number in range(2 * routes):
                client.get(f"/route/{number % routes}")
            os.write(ready_told, b"x")
            os.read(over, 1)
            os._exit(0)
        os.close(ready_told)
        os.close(over)
        os.read(ready, 1)
        os.close(ready)

    def end(self) -> None:
        os.write(self._over, b"x")
        os.close(self._over)
        os.waitpid(self._pid, 0)


def _app(routes: int) -> Flask:
    app = Flask("routes", root_path=".")
    app.config["PERFKIT_METRICS_PATH"] = "/metrics"
    PerfKit(app)
    for number in range(routes):
        app.add_url_rule(f"/route/{number}", f"route {number}", lambda: "ok")
    return app


def _scrape(app: Flask) -> str:
    response = app.test_client().get("/metrics")
    if response.status_code != 200:
        sys.exit(f"the page answers {response.status}")
    return response.text


def _tell(app: Flask, directory: str, when: str) -> None:
    times = []
    for _ in range(_SCRAPES):
        started = time.perf_counter()
        page = _scrape(app)
        times.append((time.perf_counter() - started) * _MILLISECONDS)
    series = sum(not line.startswith("#") for line in page.splitlines())
    files = list(Path(directory).iterdir())
    size = sum(file.stat().st_size for file in files)
    print(
        f"{when}: {median(times):.0f} ms (least {min(times):.0f}, most {max(times):.0f}), "
        f"{series:,} series, {len(page) / 1024:.0f} KB; {len(files)} files, {size / 1024:.0f} KB"
    )


if __name__ == "__main__":
    main()
