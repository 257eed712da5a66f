"""How code walks what it asks for, read from its source: the loop around a line."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from functools import lru_cache

from flask_perfkit.detectors.sources import source_of

_BRINGS_ITS_OWN = (ast.For, ast.AsyncFor, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_TELLING = (*_BRINGS_ITS_OWN, ast.While, ast.AsyncFunctionDef)
_WAITS = frozenset({"sleep", "wait", "wait_for"})
_COMMITS = frozenset({"commit"})

Line = tuple[str | None, int | None]


def lets_go(lines: Iterable[Line]) -> bool:
    """Tell whether code lets each object go before it takes the next one.

    A ``while`` loop takes one after the other out of somewhere, and a coroutine that walks nothing
    has one object each time it is called.

    :param lines: the line that reads, then those that called it; the first with a loop tells.
    """
    for line in lines:
        answer = _lets_go(*line)
        if answer is not None:
            return answer
    return False


@lru_cache(maxsize=500)
def _lets_go(filename: str | None, lineno: int | None) -> bool | None:
    """Return what the innermost loop around a line tells; None where there is none."""
    loop = next((node for node in _around(filename, lineno) if isinstance(node, _TELLING)), None)
    return None if loop is None else isinstance(loop, ast.While | ast.AsyncFunctionDef)


def functions_around(filename: str | None, lineno: int | None) -> list[str]:
    """Return the names of the functions around a line, from the inside out."""
    around = _around(filename, lineno)
    return [
        node.name for node in around if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def waits(lines: Iterable[Line]) -> bool:
    """Tell whether a loop around one of the lines waits, for what others do meanwhile."""
    return any(_calls_in_loop(*line, names=_WAITS) for line in lines)


def commits(lines: Iterable[Line]) -> bool:
    """Tell whether a loop around one of the lines commits."""
    return any(_calls_in_loop(*line, names=_COMMITS) for line in lines)


@lru_cache(maxsize=500)
def _calls_in_loop(filename: str | None, lineno: int | None, *, names: frozenset[str]) -> bool:
    loops = (node for node in _around(filename, lineno) if not isinstance(node, _FUNCTIONS))
    return any(_called(node) in names for loop in loops for node in ast.walk(loop))


@lru_cache(maxsize=500)
def _around(filename: str | None, lineno: int | None) -> tuple[ast.AST, ...]:
    """Return the loops and functions around a line, from the inside out."""
    if filename is None or lineno is None:
        return ()
    source = source_of(filename)
    if source is None:
        return ()
    telling = (*_BRINGS_ITS_OWN, ast.While, *_FUNCTIONS)
    return tuple(node for node in source.around(lineno) if isinstance(node, telling))[::-1]


def _called(node: ast.AST) -> str | None:
    """Return the name of what a node calls, if it calls something that has one."""
    called = node.func if isinstance(node, ast.Call) else None
    return called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", None)
