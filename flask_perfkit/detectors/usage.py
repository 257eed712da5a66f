"""What code does with the rows of a statement, read from the source around one line.

Only the function that asked is looked at. What is found is certain: a result that is counted
or summed there and used for nothing else.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache
from itertools import chain
from typing import NamedTuple

_LONGEST_SOURCE = 1_000_000
_AGGREGATES = {"len": "count", "sum": "sum", "max": "max", "min": "min"}
_WRAPPERS = ("list", "tuple", "set", "sorted", "enumerate")

_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Module


class Aggregate(NamedTuple):
    """A function of SQL that gives what the code works out, and the attribute it works on."""

    function: str
    attribute: str | None


@lru_cache(maxsize=500)
def aggregate_of(filename: str, lineno: int) -> Aggregate | None:
    """Return how the rows asked for at a line are aggregated; None where they are used."""
    module = _parsed(filename)
    if module is None:
        return None
    function = _around(module, lineno)
    parents = {child: node for node in ast.walk(function) for child in ast.iter_child_nodes(node)}
    for node in ast.walk(function):
        if isinstance(node, ast.expr | ast.For) and _spans(node, lineno):
            found = _aggregate(node, lineno)
            if found is not None:
                return found
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and _spans(node.value, lineno):
            return _of_variable(node, function, parents)
    return None


@lru_cache(maxsize=50)
def _parsed(filename: str) -> ast.Module | None:
    try:
        with open(filename, "rb") as file:
            return ast.parse(file.read(_LONGEST_SOURCE))
    except (OSError, SyntaxError, ValueError):
        return None


def _around(module: ast.Module, lineno: int) -> _Function:
    """Return the innermost function that a line lies in."""
    found: _Function = module
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _spans(node, lineno):
            found = node  # the walk goes from the outside in
    return found


def _spans(node: ast.stmt | ast.expr, lineno: int) -> bool:
    return node.lineno <= lineno <= (node.end_lineno or node.lineno)


def _aggregate(node: ast.AST, lineno: int) -> Aggregate | None:
    """Return the aggregate that a call or a loop makes of the rows asked for at a line."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) == 1:
        function, argument = _AGGREGATES.get(node.func.id), node.args[0]
        if function is None or not _spans(argument, lineno):
            return None
        if isinstance(argument, ast.GeneratorExp | ast.ListComp):
            source = argument.generators[0].iter
            if _asks(source, lineno) and len(argument.generators) == 1:
                return Aggregate(function, _attribute(argument.elt))
            return None
        return Aggregate(function, None) if _asks(argument, lineno) else None
    if isinstance(node, ast.For) and _asks(node.iter, lineno):
        return _accumulated(node)
    return None


def _asks(node: ast.expr, lineno: int) -> bool:
    """Tell whether an expression is the rows themselves, as a call at a line gives them."""
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        if node.func.id not in _WRAPPERS or not node.args:
            break
        node = node.args[0]
    # select(...) through a session or a query: a method's result.
    return (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _spans(node, lineno)
    )


def _accumulated(loop: ast.For) -> Aggregate | None:
    """Return what a loop adds up, if it does nothing else."""
    attributes = []
    for statement in loop.body:
        if not (isinstance(statement, ast.AugAssign) and isinstance(statement.op, ast.Add)):
            return None
        if any(isinstance(node, ast.Call) for node in ast.walk(statement)):
            return None
        attributes.append(_attribute(statement.value))
    if len(attributes) != 1:
        return None
    counts = isinstance(loop.body[0].value, ast.Constant)  # type: ignore[attr-defined]
    return Aggregate("count" if counts else "sum", attributes[0])


def _of_variable(
    assignment: ast.Assign, function: _Function, parents: dict[ast.AST, ast.AST]
) -> Aggregate | None:
    target = assignment.targets[0]
    if len(assignment.targets) != 1 or not isinstance(target, ast.Name):
        return None
    uses = [
        _use(node, parents)
        for node in ast.walk(function)
        if isinstance(node, ast.Name) and node.id == target.id and node is not target
    ]
    found = [use for use in uses if use is not None]
    if not found or len(found) < len(uses):
        return None
    return next((use for use in found if use.function != "count"), found[0])


def _use(name: ast.Name, parents: dict[ast.AST, ast.AST]) -> Aggregate | None:
    parent = parents.get(name)
    if isinstance(parent, ast.Call) and isinstance(parent.func, ast.Name) and name in parent.args:
        function = _AGGREGATES.get(parent.func.id)
        return Aggregate(function, None) if function == "count" else None
    if isinstance(parent, ast.comprehension):
        source = parents.get(parent)
        call = parents.get(source) if source is not None else None
        if isinstance(source, ast.GeneratorExp | ast.ListComp) and isinstance(call, ast.Call):
            function = _AGGREGATES.get(getattr(call.func, "id", ""))
            if function is not None and not _nested(source):
                return Aggregate(function, _attribute(source.elt))
    if isinstance(parent, ast.For) and parent.iter is name:
        return _accumulated(parent)
    return None


def _nested(source: ast.GeneratorExp | ast.ListComp) -> bool:
    inner = chain.from_iterable(ast.walk(each) for each in (source.elt, *source.generators[0].ifs))
    return len(source.generators) > 1 or any(isinstance(node, ast.Call) for node in inner)


def _attribute(node: ast.expr) -> str | None:
    """Return the attribute that an expression is about, if it is about one."""
    names = set(_attributes(node))
    return names.pop() if len(names) == 1 else None


def _attributes(node: ast.expr) -> Iterator[str]:
    for each in ast.walk(node):
        if isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name):
            yield each.attr
