"""Measure the dashboard: how long each of its pages takes with 100,000 profiles in its store.

    python benchmarks/dashboard.py [--profiles 100000]

The profiles are those of ``benchmarks/store.py``, in a SQLite file. A page is asked for as a whole,
by Flask's test client; the least of several times counts.
"""

from __future__ import annotations

import argparse
from tempfile import TemporaryDirectory
from time import perf_counter, process_time

from flask import Flask
from store import ROUNDS, fill

from flask_perfkit import PerfKit
from flask_perfkit.store.places.sqlite import SQLitePlace


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--profiles", type=int, default=100_000)
    profiles = parser.parse_args().profiles
    with TemporaryDirectory() as directory:
        file = f"{directory}/profiles.db"
        place = SQLitePlace(file, profiles)
        fill(place, profiles)
        place.let_go()
        app = Flask("benchmark", root_path=directory)
        app.debug = True
        app.config.update(PERFKIT_STORAGE_URL=f"sqlite:///{file}", PERFKIT_STORAGE_LIMIT=profiles)
        PerfKit(app)
        client = app.test_client()
        newest = client.get("/perfkit/requests?format=json").json["requests"][0]
        key = "&".join(f"{name}={value}" for name, value in newest["route"].items())
        print(f"{client.get('/perfkit/system?format=json').json['store']['profiles']:,} profiles")
        for page in (
            "",
            "?since=24h",
            f"/route?since=24h&{key}",
            "/requests?since=24h",
            "/requests?since=24h&q=route/7",
            f"/requests/{newest['id']}",
            "/statements?since=24h",
            "/findings?since=24h",
        ):
            times, cpus = [], []
            for _ in range(ROUNDS):
                began, cpu = perf_counter(), process_time()
                answer = client.get(f"/perfkit{page}")
                times.append(perf_counter() - began)
                cpus.append(process_time() - cpu)
                assert answer.status_code == 200, page
            least, cpu = min(times) * 1e3, min(cpus) * 1e3
            print(f"  /perfkit{page}: {least:,.0f} ms, {cpu:,.0f} ms of CPU", flush=True)


if __name__ == "__main__":
    main()
