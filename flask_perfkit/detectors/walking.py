"""How code walks the objects whose attribute loads lazily, read from its source."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from functools import lru_cache

from flask_perfkit.detectors.usage import parsed

_BRINGS_ITS_OWN = (ast.For, ast.AsyncFor, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def lets_go(lines: Iterable[tuple[str | None, int | None]]) -> bool:
    """Tell whether code lets each object go before it takes the next one.

    A ``while`` loop takes one after the other out of somewhere, and a coroutine that walks nothing
    has one object each time it is called.

    :param lines: the line that reads, then those that called it; the first with a loop tells.
    """
    for filename, lineno in lines:
        if filename is None or lineno is None:
            continue
        answer = _lets_go(filename, lineno)
        if answer is not None:
            return answer
    return False


@lru_cache(maxsize=500)
def _lets_go(filename: str, lineno: int) -> bool | None:
    """Return what the innermost loop around a line tells; None where there is none."""
    module = parsed(filename)
    around = [
        node
        for node in (ast.walk(module) if module is not None else ())
        if isinstance(node, (*_BRINGS_ITS_OWN, ast.While, *_FUNCTIONS))
        and node.lineno <= lineno <= (node.end_lineno or 0)
    ]
    for node in reversed(around):  # the walk goes from the outside in
        if isinstance(node, ast.While):
            return True
        if isinstance(node, _BRINGS_ITS_OWN):
            return False
        if isinstance(node, ast.AsyncFunctionDef):
            return True
    return None
