"""Cells that many threads count in at once, with nothing to keep them apart."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from flask_perfkit.metrics.store.counters import Waits, counter

THREADS, TIMES = 8, 5_000


@pytest.fixture(autouse=True)
def eager_threads() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def test_no_count_is_lost() -> None:
    cells = array("d", [0, 41, 0])
    count = counter(memoryview(cells), 1)
    barrier = Barrier(THREADS)

    def work(_: int) -> None:
        barrier.wait()
        for _ in range(TIMES):
            count()

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))
    assert list(cells) == [0, 41 + THREADS * TIMES, 0]


def test_no_wait_is_lost() -> None:
    cells = array("d", [0, 0, 0])
    waits = Waits(memoryview(cells), lambda wait: 1 if wait <= 4 else 2)
    barrier = Barrier(THREADS)

    def work(wait: int) -> None:
        barrier.wait()
        for _ in range(TIMES):
            waits.put(wait)
            waits.add()
            waits.counters[waits.place_of(wait)]()

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(1, THREADS + 1)))
    assert list(cells) == [TIMES * 36, TIMES * 4, TIMES * 4]  # 1 + 2 + … + 8 = 36
