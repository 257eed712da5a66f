"""What the source of views shows of code that no request reached.

A call is told by the object that its name stands for where it is written, not by the name.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from types import FunctionType
from typing import TYPE_CHECKING, Any

from flask_perfkit.advice.check import Check
from flask_perfkit.faults import log_once
from flask_perfkit.recording.callsite import is_application
from flask_perfkit.recording.wording import line

if TYPE_CHECKING:
    from flask import Flask

Place = tuple[str, int]
"""A file and a line."""

_CLIENT = "an asynchronous client of HTTP"
_BLOCKING = {
    ("time", "sleep"): "await asyncio.sleep",
    ("urllib.request", "urlopen"): _CLIENT,
    ("subprocess", "run"): "asyncio.create_subprocess_exec",
    ("subprocess", "check_call"): "asyncio.create_subprocess_exec",
    ("subprocess", "check_output"): "asyncio.create_subprocess_exec",
    ("requests.api", "request"): _CLIENT,
    ("requests.api", "get"): _CLIENT,
    ("requests.api", "post"): _CLIENT,
    ("requests.api", "put"): _CLIENT,
    ("requests.api", "patch"): _CLIENT,
    ("requests.api", "delete"): _CLIENT,
}
"""What blocks, by module and name as the function itself has them, and what does not."""

_MOST_DEEP = 5


@dataclass(frozen=True)
class _Call:
    """A call in a function, and the object that is called where its name tells that."""

    node: ast.Call
    target: Any
    function: FunctionType
    lineno: int


def source_checks(app: Flask, found_already: Collection[Place]) -> list[Check]:
    """Look at the views, and at the application's functions that they call by name.

    :param found_already: lines of findings, of which more is known.
    """
    found: dict[Place, Check] = {}
    for endpoint, view in sorted(app.view_functions.items()):
        for function in _functions_of(view):
            try:
                for place, check in _checks_of(endpoint, function):
                    if place not in found_already:
                        found.setdefault(place, check)
            except Exception:
                log_once("looking at the source of a view")
    return list(found.values())


def _functions_of(view: Any) -> Iterator[FunctionType]:
    """Yield a view's own function, or the methods of a view class."""
    view_class = getattr(view, "view_class", None)
    methods = getattr(view_class, "methods", None) or ()
    names = ["dispatch_request", *(method.lower() for method in methods)]
    views = [getattr(view_class, name, None) for name in names] if view_class else [view]
    for each in views:
        function = inspect.unwrap(each) if each is not None else None
        if isinstance(function, FunctionType) and is_application(function.__code__.co_filename):
            yield function


def _checks_of(endpoint: str, view: FunctionType) -> Iterator[tuple[Place, Check]]:
    is_async = inspect.iscoroutinefunction(view)
    for call in _calls(view, set(), 0):
        filename = call.function.__code__.co_filename
        where = f"{line(filename, call.lineno)} in {call.function.__name__}"
        name = _name_of(call.target)
        cure = _BLOCKING.get(name) if is_async else None
        if cure is not None:
            message = f"{'.'.join(name)} at {where} would block the event loop; no request tried it"
            yield (filename, call.lineno), Check("blocking_call", endpoint, message, f"use {cure}")
        elif _asks_for_keys(call):
            message = f"KEYS at {where} would stop Redis for everybody; no request tried it"
            yield (
                (filename, call.lineno),
                Check("redis_keys", endpoint, message, "use scan_iter(match=pattern)"),
            )


def _calls(function: FunctionType, seen: set[Any], depth: int) -> Iterator[_Call]:
    """Yield the calls of a function, and of the application's functions that it calls."""
    if function.__code__ in seen or depth > _MOST_DEEP:
        return
    seen.add(function.__code__)
    try:
        lines, first = inspect.getsourcelines(function)
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, SyntaxError, TypeError):
        return
    names = _names_in(function, tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        target = _target(node.func, names)
        yield _Call(node, target, function, first + node.lineno - 1)
        inner = inspect.unwrap(target) if callable(target) else None
        if isinstance(inner, FunctionType) and is_application(inner.__code__.co_filename):
            yield from _calls(inner, seen, depth + 1)


def _names_in(function: FunctionType, tree: ast.AST) -> dict[str, Any]:
    """Return what names stand for in a function; of its own variables only imports are known."""
    names = {**function.__globals__, **inspect.getclosurevars(function).nonlocals}
    for own in (*function.__code__.co_varnames, *function.__code__.co_cellvars):
        names.pop(own, None)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {one.asname or one.name: sys.modules.get(one.name) for one in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            module = sys.modules.get(node.module or "")
            names |= {one.asname or one.name: getattr(module, one.name, None) for one in node.names}
    return names


def _target(node: ast.expr, names: dict[str, Any]) -> Any:
    """Return the object that a dotted name stands for; None where it is not of a module's."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        owner = _target(node.value, names)
        is_module = inspect.ismodule(owner)
        return getattr(owner, node.attr, None) if is_module else None
    return None


def _name_of(target: Any) -> tuple[str, str]:
    """Return module and name of a function; what stands in for one has its."""
    if not callable(target):
        return "", ""
    return str(getattr(target, "__module__", "")), str(getattr(target, "__name__", ""))


def _asks_for_keys(call: _Call) -> bool:
    """Tell KEYS of Redis: of a mapping ``keys()`` takes no pattern."""
    func, arguments = call.node.func, call.node.args
    if not isinstance(func, ast.Attribute) or not arguments:
        return False
    first = arguments[0]
    if func.attr == "execute_command":
        return isinstance(first, ast.Constant) and str(first.value).upper().startswith("KEYS")
    return func.attr == "keys" and len(arguments) == 1 and call.target is None
