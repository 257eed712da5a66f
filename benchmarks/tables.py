"""Prints figures as Markdown tables that a terminal shows well too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import zip_longest


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table: the first column to the left, the others to the right.

    A row may end early; its last cell is then not widened for.
    """
    rows = list(rows)
    full = [header, *(row for row in rows if len(row) == len(header))]
    widths = [max(map(len, column)) for column in zip(*full, strict=True)]
    widths[0] = max(len(row[0]) for row in [header, *rows])
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join(_line(row, widths) for row in (header, rule, *rows))


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = row
    cells = [first.ljust(widths[0])]
    cells += [cell.rjust(width) for cell, width in zip_longest(others, widths[1:], fillvalue="")]
    return f"| {' | '.join(cells)} |"
