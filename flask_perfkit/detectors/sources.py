"""The application's source files as trees, each read once."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cached_property, lru_cache

_LONGEST_SOURCE = 1_000_000


class Source:
    """A source file as its tree."""

    def __init__(self, module: ast.Module) -> None:
        self.module = module

    @cached_property
    def bound(self) -> frozenset[str]:
        """Every name that the file gives a value of its own, wherever it does."""
        return frozenset(_bound(self.module))

    def around(self, lineno: int) -> Iterator[ast.stmt | ast.expr]:
        """Yield the statements and expressions that hold a line, from the outside in.

        Only these are looked into, so that a long file costs what a short one does.
        """
        level: list[ast.AST] = [self.module]
        while level:
            level = [child for node in level for child in ast.iter_child_nodes(node)]
            level = [node for node in level if _first_line(node) <= lineno <= _last_line(node)]
            for node in level:
                if isinstance(node, ast.stmt | ast.expr) and node.lineno <= lineno:
                    yield node


def _first_line(node: ast.AST) -> int:
    """Return where a node begins, with its decorators; what has no place may be anywhere."""
    first: int = getattr(node, "lineno", 0)
    return min((each.lineno for each in getattr(node, "decorator_list", ())), default=first)


def _last_line(node: ast.AST) -> int:
    last: int = getattr(node, "end_lineno", _LONGEST_SOURCE)
    return last


def _bound(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.alias):
            yield node.asname or node.name


@lru_cache(maxsize=50)
def source_of(filename: str) -> Source | None:
    """Return a source file as its tree; None where there is none."""
    try:
        with open(filename, "rb") as file:
            return Source(ast.parse(file.read(_LONGEST_SOURCE)))
    except (OSError, SyntaxError, ValueError):
        return None
