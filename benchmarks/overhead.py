"""Measure what watching costs: PerfKit, a floor written by hand, and what others offer.

    python benchmarks/overhead.py [--quick]

Each variant runs in processes of its own, and they are asked in turn, round after round, so
that a machine that slows down slows all of them down. Opcodes are exact and the same on every
run; CPU time is the check. "bare again" is the bare application in a second process: what it
seems to cost is what the machine adds to any figure by chance.
"""

from __future__ import annotations

import argparse
import os
import platform
import sqlite3
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from compileall import compile_dir
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from endpoints import ENDPOINTS, GROWING
from measures import Cost, Opcodes, Start, count_opcodes, grow, time_requests
from processes import Process
from tables import markdown
from variants import BARE, FIGURES_DIRECTORY, PERFKIT, VARIANTS

_MB = 1024 * 1024


@dataclass(frozen=True)
class Extent:
    """How much is measured: processes of each variant, rounds in each, requests to grow by.

    A variant runs for ``turn`` microseconds before the next one has its turn.
    """

    processes: int = 3
    rounds: int = 10
    turn: int = 20_000
    amount: int = 100_000


QUICK = Extent(processes=1, rounds=3, turn=2_000, amount=1_000)


@dataclass
class Results:
    """What was measured, by the variant's name."""

    starts: defaultdict[str, list[Start]] = field(default_factory=lambda: defaultdict(list))
    opcodes: dict[str, Opcodes] = field(default_factory=dict)
    times: defaultdict[tuple[str, str], list[float]] = field(
        default_factory=lambda: defaultdict(list)
    )
    growth: dict[tuple[str, str], int] = field(default_factory=dict)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="half a minute instead of three")
    extent = QUICK if parser.parse_args().quick else Extent()
    _prepare_environment()
    results = Results()
    with TemporaryDirectory() as directory:
        os.environ[FIGURES_DIRECTORY] = directory
        for number in range(extent.processes):
            _tell(f"processes {number + 1} of {extent.processes}")
            _measure(results, extent)
        _tell("growth")
        _measure_growth(results, extent)
    print("\n\n".join(_report(results, extent)))


def _prepare_environment() -> None:
    """Give all processes this checkout, cached bytecode and one order of sets."""
    checkout = str(Path(__file__).resolve().parent.parent)
    paths = [checkout, os.environ.get("PYTHONPATH")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    os.environ["PYTHONHASHSEED"] = "0"
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    compile_dir(Path(checkout, "flask_perfkit"), quiet=1)


def _measure(results: Results, extent: Extent) -> None:
    """Start a process of each variant and time them in turn; the first ones count opcodes."""
    processes = [Process(variant.name) for variant in VARIANTS]
    for process in processes:
        results.starts[process.variant].append(process.start)
        if process.start.failure is not None and process.variant in (BARE, PERFKIT):
            sys.exit(f"{process.variant}: {process.start.failure}")
    running = [process for process in processes if process.start.failure is None]
    for process in running:
        if process.variant not in results.opcodes:
            results.opcodes[process.variant] = process.ask(count_opcodes, ENDPOINTS)
    for endpoint, path in ENDPOINTS.items():
        requests = max(1, round(extent.turn / running[0].ask(time_requests, path, 1)))
        for _ in range(extent.rounds):
            for process in running:
                time = process.ask(time_requests, path, requests)
                results.times[process.variant, endpoint].append(time)
    for process in processes:
        process.stop()


def _measure_growth(results: Results, extent: Extent) -> None:
    processes = [Process(BARE), Process(PERFKIT)]
    for name, (paths, each) in GROWING.items():
        for process in processes:
            process.tell(grow, paths, extent.amount // each)
        for process in processes:
            results.growth[process.variant, name] = process.answer()
    for process in processes:
        process.stop()


def _report(results: Results, extent: Extent) -> Iterator[str]:
    yield _versions()
    yield "Opcodes of a request over bare, and times bare"
    yield _opcodes_table(results)
    yield "CPU time of a request over bare; times bare by the least and by the median round"
    yield _times_table(results)
    yield "Import over Flask and Flask-SQLAlchemy, and setting an application up (CPU time, memory)"
    yield _starts_table(results)
    yield f"Memory that the last nine tenths of {extent.amount:,} added"
    yield _growth_table(results, extent)
    yield from _notes(results)


def _versions() -> str:
    distributions = ["Flask", "Flask-SQLAlchemy", "SQLAlchemy"]
    distributions += dict.fromkeys(each for one in VARIANTS for each in one.distributions)
    named = ", ".join(f"{each} {_version(each)}" for each in distributions)
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{python}, SQLite {sqlite3.sqlite_version}, {named}"


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "(not installed)"


def _opcodes_table(results: Results) -> str:
    bare = results.opcodes[BARE]

    def cells(variant: str) -> list[str]:
        counted = results.opcodes[variant]
        if variant == BARE:
            requests = [f"{opcodes:,}" for opcodes in bare.requests.values()]
            return [*requests, f"{bare.query:,.0f}", f"{bare.unwatched_query:,.0f}"]
        return [
            *map(_over, counted.requests.values(), bare.requests.values()),
            f"{round(counted.query - bare.query):+,}",
            f"{round(counted.unwatched_query - bare.unwatched_query):+,}",
        ]

    return _table(results, ("", *ENDPOINTS, "a query", "unwatched"), cells)


def _over(opcodes: int, bare: int) -> str:
    return f"{opcodes - bare:+,} {opcodes / bare:.3f}"


def _times_table(results: Results) -> str:
    def cell(variant: str, endpoint: str) -> str:
        bare, times = results.times[BARE, endpoint], results.times[variant, endpoint]
        least = min(times)
        if variant == BARE:
            return f"{least:,.0f} us"
        ratios = (one / other for one, other in zip(times, bare, strict=True))
        return f"{round(least - min(bare)):+,} us {least / min(bare):.2f} {median(ratios):.2f}"

    return _table(
        results,
        ("", *ENDPOINTS),
        lambda variant: [cell(variant, endpoint) for endpoint in ENDPOINTS],
    )


def _starts_table(results: Results) -> str:
    def cells(variant: str) -> list[str]:
        starts = results.starts[variant]
        imported = [start.imported for start in starts]
        set_up = [start.set_up for start in starts]
        return [*_median_cost(imported), *_median_cost(set_up)]

    return _table(results, ("", "import", "", "set up", ""), cells)


def _median_cost(costs: Sequence[Cost]) -> tuple[str, str]:
    milliseconds = median(cost.time for cost in costs) / 1e6
    return f"{milliseconds:.1f} ms", f"{median(cost.memory for cost in costs) / _MB:.1f} MB"


def _growth_table(results: Results, extent: Extent) -> str:
    def cell(variant: str, name: str) -> str:
        grown = results.growth[variant, name]
        return f"{grown / _MB:+.2f} MB, {grown / (0.9 * extent.amount):+.0f} bytes each"

    return markdown(
        ("", BARE, PERFKIT),
        [(name, cell(BARE, name), cell(PERFKIT, name)) for name in GROWING],
    )


def _table(results: Results, header: Sequence[str], cells: Callable[[str], Sequence[str]]) -> str:
    """Return a table with a row for each variant; one that does not run says so."""
    rows = []
    for variant in VARIANTS:
        failure = results.starts[variant.name][0].failure
        figures = cells(variant.name) if failure is None else (failure.partition(":")[0],)
        rows.append((variant.name, *figures))
    return markdown(header, rows)


def _notes(results: Results) -> Iterator[str]:
    for variant, (start, *_) in results.starts.items():
        if start.failure or start.note:
            yield f"{variant}: {start.failure or start.note}"


def _tell(stage: str) -> None:
    print(stage, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
