"""Who calls the function that a select stands in: what one caller needs may slow another."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from types import CellType, CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING

from flask_perfkit.audit.patches.code.living import living
from flask_perfkit.audit.patches.code.source import Source, within
from flask_perfkit.recording.callsite import is_application

if TYPE_CHECKING:
    from flask import Flask

Line = tuple[str | None, int | None]
"""A file and a line of it."""


def is_shared(app: Flask, source: Source, lineno: int, touching: Line, calling: set[Line]) -> bool:
    """Tell whether the select at a line may serve others than those that need an option of it.

    It does not where each way to it leads through a function that uses the objects, or is the view
    of one endpoint. Who calls a function that nobody names is not known.

    :param touching: the line where the objects are used.
    :param calling: the lines that call what is there.
    """
    beginners = _beginners(app)
    function = _function_at(source, lineno)
    seen: set[CodeType] = set()
    while function is not None and function.__code__ not in seen:
        code = function.__code__
        if beginners[code] == 1 or _has(code, *touching):
            return False
        if not beginners[code] and any(_has(code, *line) for line in calling):
            return False
        seen.add(code)
        callers = {each.__code__: each for each in _callers(function) if each is not function}
        function = next(iter(callers.values())) if len(callers) == 1 else None
    return True


def _function_at(source: Source, lineno: int) -> FunctionType | None:
    """Return the innermost living function that has a line."""
    around = [
        function
        for function in source.functions
        if _has(function.__code__, str(source.path), lineno)
    ]
    return max(around, key=lambda each: each.__code__.co_firstlineno, default=None)


def _has(code: CodeType, filename: str | None, lineno: int | None) -> bool:
    return code.co_filename == filename and any(
        line == lineno for each in within(code) for _, _, line in each.co_lines()
    )


def _callers(function: FunctionType) -> Iterator[FunctionType]:
    """Yield the functions of the application that name a function, or a method like it.

    What is made inside of a function is known to those that were made there with it.
    """
    name = function.__name__
    qualified = function.__code__.co_qualname
    is_local = qualified.endswith(f"<locals>.{name}")
    for each in living():
        if type(each) is not FunctionType or not is_application(each.__code__.co_filename):
            continue
        names = set(chain.from_iterable(code.co_names for code in within(each.__code__)))
        if is_local:
            if any(_inside(cell) is function for cell in each.__closure__ or ()):
                yield each
        elif "." in qualified:
            if name in names:
                yield each
        elif any(_means(each.__globals__.get(known), function) for known in names):
            yield each


def _inside(cell: CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:
        return None  # nothing has been put there yet


def _means(value: object, function: FunctionType) -> bool:
    """Tell whether a global is a function, or the module that has it."""
    if isinstance(value, ModuleType):
        return vars(value) is function.__globals__
    if not callable(value):
        return False
    return getattr(inspect.unwrap(value), "__code__", None) is function.__code__


def _beginners(app: Flask) -> Counter[CodeType]:
    """Count for how many endpoints a function begins the answer: its view, or what wraps that."""
    found: Counter[CodeType] = Counter()
    for view in {id(each): each for each in app.view_functions.values()}.values():
        owner = getattr(view, "view_class", None)
        functions = _layers(view) if owner is None else _methods(owner)
        found.update({each.__code__ for each in functions if isinstance(each, FunctionType)})
    return found


def _methods(owner: type) -> Iterator[object]:
    for each in owner.__mro__:
        yield from vars(each).values()


def _layers(view: object) -> Iterator[object]:
    """Yield a function, and those that it wraps."""
    while view is not None:
        yield view
        view = getattr(view, "__wrapped__", None)
