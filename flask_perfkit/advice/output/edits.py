"""Changes of a source file at places that its syntax tree tells."""

from __future__ import annotations

import ast
from collections.abc import Sequence


class Edits:
    """Collects changes of a text, and makes them all at once; places are those of its tree."""

    def __init__(self, text: str) -> None:
        self._bytes = text.encode()  # as the columns of a tree are counted
        self._lines = [0]
        for line in self._bytes.splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line))
        self._made: list[tuple[int, int, bytes]] = []

    def put(self, lineno: int, column: int, text: str) -> None:
        """Put a text before a place."""
        at = self._lines[lineno - 1] + column
        self._made.append((at, at, text.encode()))

    def put_before(self, node: ast.AST, text: str) -> None:
        """Put a text before a node of the tree."""
        at = self._start(node)
        self._made.append((at, at, text.encode()))

    def put_behind(self, node: ast.AST, text: str) -> None:
        """Put a text behind a node of the tree."""
        at = self._end(node)
        self._made.append((at, at, text.encode()))

    def take_out(self, items: Sequence[ast.AST], gone: ast.AST, *, keep_comma: bool) -> None:
        """Take one of several items out of a list with commas.

        :param keep_comma: what is left ends with one, as a tuple of one item must.
        """
        at = items.index(gone)
        start, end = self._start(gone), self._end(gone)
        if at + 1 < len(items):
            end = self._start(items[at + 1])
        elif at:
            start = self._end(items[at - 1])
            if keep_comma:
                start += self._bytes[start:].index(b",") + 1
                behind = self._bytes[end:]
                end += len(behind) - len(behind.lstrip()) + 1 if behind.lstrip()[:1] == b"," else 0
        self._made.append((start, end, b""))

    def text(self) -> str:
        """Return the text with all changes."""
        changed = self._bytes
        for start, end, text in sorted(self._made, reverse=True):
            changed = changed[:start] + text + changed[end:]
        return changed.decode()

    def _start(self, node: ast.AST) -> int:
        return self._at(getattr(node, "lineno", 1), getattr(node, "col_offset", 0))

    def _end(self, node: ast.AST) -> int:
        return self._at(getattr(node, "end_lineno", 1), getattr(node, "end_col_offset", 0))

    def _at(self, lineno: int, column: int) -> int:
        return self._lines[lineno - 1] + column
