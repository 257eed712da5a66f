"""Who calls the function that a select stands in: what one caller needs may slow another."""

from __future__ import annotations

import gc
import inspect
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING

from flask_perfkit.audit.patches.source import Source, codes_of, within
from flask_perfkit.recording.callsite import is_application

if TYPE_CHECKING:
    from flask import Flask

Key = tuple[str, int]
"""What tells a function of one file: its qualified name and its first line."""


def function_at(source: Source, lineno: int) -> CodeType | None:
    """Return the code of the innermost function that has a line."""
    around = [
        code
        for code in codes_of(source.text, str(source.path)).values()
        if any(line == lineno for _, _, line in code.co_lines()) and code.co_name[0] != "<"
    ]
    return max(around, key=lambda code: code.co_firstlineno, default=None)


def is_shared(app: Flask, source: Source, code: CodeType) -> bool:
    """Tell whether several places call a function; one that a request begins with has no others."""
    if "<locals>" in code.co_qualname or key_of(code) in _views(app, str(source.path)):
        return False
    return len(set(_callers(source, code))) > 1


def view_of(app: Flask, source: Source, endpoint: str | None) -> str | None:
    """Return the name of the function that answers an endpoint, if it is in a module itself."""
    view = app.view_functions.get(endpoint or "")
    function = inspect.unwrap(view) if view is not None else None
    if isinstance(function, FunctionType) and function.__globals__ is vars(source.module):
        return function.__name__
    return None


def key_of(code: CodeType) -> Key:
    """Return what tells a function of one file."""
    return code.co_qualname, code.co_firstlineno


def _callers(source: Source, code: CodeType) -> Iterator[Key]:
    """Yield the functions of the application that name a function, or a method like it."""
    is_method = "." in code.co_qualname
    for function in gc.get_objects():
        if type(function) is not FunctionType or not is_application(function.__code__.co_filename):
            continue
        names = {name for each in within(function.__code__) for name in each.co_names}
        if is_method:
            if code.co_name in names:
                yield key_of(function.__code__)
        elif any(_means(function.__globals__.get(name), code, source) for name in names):
            yield key_of(function.__code__)


def _means(value: object, code: CodeType, source: Source) -> bool:
    """Tell whether a global is a function, or the module that has it."""
    if isinstance(value, ModuleType):
        return value is source.module
    if not callable(value):
        return False
    inner = getattr(inspect.unwrap(value), "__code__", None)
    return (
        isinstance(inner, CodeType)
        and key_of(inner) == key_of(code)
        and inner.co_filename == str(source.path)
    )


def _views(app: Flask, filename: str) -> set[Key]:
    codes: list[CodeType] = []
    for view in app.view_functions.values():
        owner = getattr(view, "view_class", None)
        functions = vars(owner).values() if owner is not None else (inspect.unwrap(view),)
        codes += [each.__code__ for each in functions if hasattr(each, "__code__")]
    return {key_of(code) for code in codes if code.co_filename == filename}
