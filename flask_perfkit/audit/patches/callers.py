"""Who calls the function that a select stands in: what one caller needs may slow another."""

from __future__ import annotations

import gc
import inspect
from collections.abc import Iterable, Iterator
from itertools import chain
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING

from flask_perfkit.audit.patches.source import Source, functions_of, within
from flask_perfkit.recording.callsite import is_application

if TYPE_CHECKING:
    from flask import Flask

Line = tuple[str | None, int | None]
"""A file and a line of it."""


def is_shared(app: Flask, source: Source, lineno: int, needing: Iterable[Line]) -> bool:
    """Tell whether the select at a line may serve others than those that need an option of it.

    It does not where each way to it leads through a function that has one of their lines, or
    begins a request. Who calls a function that nobody names is not known.

    :param needing: the lines where the objects are used.
    """
    lines = list(needing)
    views = _views(app)
    function = _function_at(source, lineno)
    seen: set[CodeType] = set()
    while function is not None and function.__code__ not in seen:
        code = function.__code__
        if "<locals>" in code.co_qualname or code in views:
            return False
        if any(_has(code, *line) for line in lines):
            return False
        seen.add(code)
        callers = {each.__code__: each for each in _callers(function)}
        callers.pop(code, None)
        function = next(iter(callers.values())) if len(callers) == 1 else None
    return True


def _function_at(source: Source, lineno: int) -> FunctionType | None:
    """Return the innermost living function that has a line."""
    around = [
        function
        for function in functions_of(str(source.path), source.module)
        if _has(function.__code__, str(source.path), lineno)
    ]
    return max(around, key=lambda each: each.__code__.co_firstlineno, default=None)


def _has(code: CodeType, filename: str | None, lineno: int | None) -> bool:
    return code.co_filename == filename and any(
        line == lineno for each in within(code) for _, _, line in each.co_lines()
    )


def _callers(function: FunctionType) -> Iterator[FunctionType]:
    """Yield the functions of the application that name a function, or a method like it."""
    name = function.__name__
    is_method = "." in function.__code__.co_qualname
    for each in gc.get_objects():
        if type(each) is not FunctionType or not is_application(each.__code__.co_filename):
            continue
        names = set(chain.from_iterable(code.co_names for code in within(each.__code__)))
        if is_method:
            if name in names:
                yield each
        elif any(_means(each.__globals__.get(known), function) for known in names):
            yield each


def _means(value: object, function: FunctionType) -> bool:
    """Tell whether a global is a function, or the module that has it."""
    if isinstance(value, ModuleType):
        return vars(value) is function.__globals__
    if not callable(value):
        return False
    return getattr(inspect.unwrap(value), "__code__", None) is function.__code__


def _views(app: Flask) -> set[CodeType]:
    codes: set[CodeType] = set()
    for view in app.view_functions.values():
        owner = getattr(view, "view_class", None)
        functions = vars(owner).values() if owner is not None else (inspect.unwrap(view),)
        codes |= {each.__code__ for each in functions if hasattr(each, "__code__")}
    return codes
