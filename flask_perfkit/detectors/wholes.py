"""Whether code may read objects as a whole, past their attributes, by ``obj.__dict__``.

No hook sees that. The functions of the files that have to do with a cause are asked: the one that
asked, its callers, the view, and all that these name, wherever they stand.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from flask_perfkit.detectors.sources import source_of
from flask_perfkit.detectors.walking import functions_around
from flask_perfkit.recording.callsite import is_application
from flask_perfkit.recording.cause import Cause
from flask_perfkit.recording.profile import Profile


class _Named(NamedTuple):
    """What the functions of one name name themselves, and whether one reads objects whole."""

    names: frozenset[str]
    reads_whole: bool


def may_go_whole(cause: Cause, models: Iterable[str], profile: Profile) -> bool:
    """Tell whether objects that a cause brought may be read past their attributes.

    :param models: their classes, as :class:`Reason` has them.
    """
    lines = [(cause.filename, cause.lineno), *(each[:2] for each in cause.common_callers)]
    view = profile.view
    files = {*(filename for filename, _ in lines), *_files_of(models)} - {None}
    waiting = {name for line in lines for name in functions_around(*line)}
    if view is not None:
        files.add(view.filename)
        waiting.add(view.function.rpartition(".")[2])
    seen: set[str] = set()
    while waiting:
        seen |= waiting
        reached = [
            functions[name]
            for functions in map(_functions, files)
            for name in waiting
            if name in functions
        ]
        if any(each.reads_whole for each in reached):
            return True
        waiting = {name for each in reached for name in each.names} - seen
    return False


def _files_of(models: Iterable[str]) -> Iterator[str | None]:
    """Yield the files of classes and of those that they inherit from."""
    for model in models:
        name, rest = model, list[str]()
        while name and name not in sys.modules:
            name, _, last = name.rpartition(".")
            rest.insert(0, last)
        found: object = sys.modules.get(name)
        for part in rest:
            found = getattr(found, part, None)
        for each in getattr(found, "__mro__", ()):
            yield getattr(sys.modules.get(each.__module__), "__file__", None)


@lru_cache(maxsize=500)
def _functions(filename: str) -> dict[str, _Named]:
    source = source_of(filename) if is_application(filename) else None
    found: defaultdict[str, list[_Named]] = defaultdict(list)
    for node in ast.walk(source.module) if source is not None else ():
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            inside = list(ast.walk(node))
            names = {getattr(each, "attr", None) or getattr(each, "id", None) for each in inside}
            named = frozenset(name for name in names if isinstance(name, str))
            found[node.name].append(_Named(named, any(map(_is_of_whole, inside))))
    return {
        name: _Named(
            frozenset().union(*(each.names for each in some)),
            any(each.reads_whole for each in some),
        )
        for name, some in found.items()
    }


def _is_of_whole(node: ast.AST) -> bool:
    if isinstance(node, ast.Attribute):
        of_class = isinstance(node.value, ast.Name) and node.value.id == "cls"
        return node.attr == "__dict__" and not of_class
    return isinstance(node, ast.Call) and getattr(node.func, "id", None) == "vars"
