"""How many objects a batch loads for: few at first, more as more of them are touched."""

from __future__ import annotations

from functools import lru_cache

CHUNK = 500
"""Most members of an ``IN`` list."""

AHEAD = 4
"""Objects loaded for in advance, at most, for each one whose relationship was touched.

It bounds the waste (a loop that is left early has loaded for five times as many objects as it
touched, never for all) and still needs few statements: 1, 4, 20, 100, 500 objects a statement
in a loop that goes on, which is 4 statements for 100 objects and 8 for 2,000.
"""

MOST_ROWS = 5_000
"""Most rows that a batch may bring, however many belong to one object."""


def room(touched: int, waiting: int, rows: int) -> int:
    """Return for how many objects the next batch may load, the one being touched included.

    :param touched: objects of the same query whose relationship is loaded.
    :param waiting: objects for which it was loaded in advance, untouched so far.
    :param rows: rows that belong to the touched ones.
    """
    room = min(CHUNK, AHEAD * touched - waiting)
    return min(room, MOST_ROWS * touched // rows) if rows else room


@lru_cache(maxsize=1_000)
def statements(objects: int) -> int:
    """Return how many statements a loop over so many objects of one query sends."""
    count = loaded = 0
    while loaded < objects:
        loaded += max(1, room(loaded, 0, 0))
        count += 1
    return count
