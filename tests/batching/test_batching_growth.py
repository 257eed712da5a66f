"""How many objects a batch loads for."""

from __future__ import annotations

import pytest

from flask_perfkit.batching.growth import room, statements


@pytest.mark.parametrize(
    ("touched", "waiting", "rows", "expected"),
    [
        (1, 0, 0, 4),
        (5, 0, 0, 20),
        (5, 17, 0, 3),  # three are left of the twenty that may wait
        (5, 30, 0, -10),
        (1000, 0, 0, 500),
        (2, 0, 2, 8),
        (2, 0, 4000, 2),  # 2,000 rows each, so two make 4,000
        (1, 0, 5001, 0),
    ],
)
def test_room(touched: int, waiting: int, rows: int, expected: int) -> None:
    assert room(touched, waiting, rows) == expected


@pytest.mark.parametrize(
    ("objects", "expected"),
    [(0, 0), (1, 1), (2, 2), (5, 2), (6, 3), (25, 3), (100, 4), (125, 4), (2000, 8)],
)
def test_statements(objects: int, expected: int) -> None:
    assert statements(objects) == expected
