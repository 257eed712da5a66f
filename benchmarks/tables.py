"""Prints figures as Markdown tables that a terminal shows well too."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table: the first column to the left, the others to the right.

    A row may end early.
    """
    table = [(*row, *[""] * (len(header) - len(row))) for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    rule = ("-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:]))
    return "\n".join(_line(row, widths) for row in (table[0], rule, *table[1:]))


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    _, *others = map(str.rjust, row, widths)
    return f"| {' | '.join([row[0].ljust(widths[0]), *others])} |"
