"""What the names of a function mean: those that it binds itself, and those of its module."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import libcst as cst
from sqlalchemy.orm import Mapper, aliased
from werkzeug.local import LocalProxy

from flask_perfkit.audit.patches.code.module import ModuleTree, attribute_of

_BINDING = (
    *(cst.AssignTarget, cst.AugAssign, cst.AnnAssign, cst.NamedExpr, cst.For, cst.CompFor),
    cst.Del,
)


def names_in(node: cst.CSTNode) -> set[str]:
    """Return the variables that an expression reads; attributes of theirs are none."""
    found: set[str] = set()
    waiting: list[cst.CSTNode] = [node]
    while waiting:
        each = waiting.pop()
        if isinstance(each, cst.Name):
            found.add(each.value)
        elif isinstance(each, cst.Attribute | cst.Arg):
            waiting.append(each.value)
        else:
            waiting += each.children
    return found


def bound_in(tree: ModuleTree, node: cst.CSTNode) -> set[str]:
    """Return the variables that something inside of a node binds."""
    return {name for each in tree.walk(node) for name in _bound_by(each)}


def assignments(
    tree: ModuleTree, name: str, scope: cst.CSTNode
) -> list[tuple[cst.Assign, cst.SimpleStatementLine]]:
    """Return the lines inside of a node that do nothing but to give a variable a value."""
    return [
        (small, line)
        for line in tree.walk(scope)
        if isinstance(line, cst.SimpleStatementLine) and len(line.body) == 1
        for small in line.body
        if isinstance(small, cst.Assign) and _is_of(small, name)
    ]


def given_once(
    tree: ModuleTree, name: str, function: cst.CSTNode | None
) -> cst.BaseExpression | None:
    """Return what a variable of a function is given, if that is the only thing that binds it."""
    if function is None:
        return None
    given = assignments(tree, name, function)
    return given[0][0].value if len(given) == 1 == bindings(tree, name, function) else None


def value_of(tree: ModuleTree, node: cst.CSTNode, function: cst.CSTNode | None) -> Any:
    """Return what a dotted name means where a function reads it; None where that is not sure.

    A variable of the function that is given an alias of a model means the model.
    """
    if isinstance(node, cst.Attribute):
        owner = value_of(tree, node.value, function)
        return attribute_of(owner, node.attr.value)
    if isinstance(node, cst.Call):
        is_alias = value_of(tree, node.func, function) is aliased and node.args
        return value_of(tree, node.args[0].value, function) if is_alias else None
    if not isinstance(node, cst.Name):
        return None
    while function is not None and node.value not in bound_in(tree, function):
        function = tree.function_of(function)
    if function is None:
        value = tree.value(node)
        return None if type(value) is LocalProxy else value  # it would ask for a context
    given = given_once(tree, node.value, function)
    is_known = given is not None and node.value not in names_in(given)
    return value_of(tree, given, function) if is_known and given is not None else None


def column_of(tree: ModuleTree, node: cst.CSTNode, function: cst.CSTNode | None) -> Any:
    """Return the column of a table that an expression is; None where it is none."""
    value = value_of(tree, node, function)
    columns = getattr(getattr(value, "property", None), "columns", [value])
    return columns[0] if getattr(columns[0], "table", None) is not None else None


def mapper_in(tree: ModuleTree, node: cst.CSTNode, function: cst.CSTNode | None) -> Any:
    """Return the mapper of a model, or of the model that has a column; None where it is none."""
    value = value_of(tree, node, function)
    mapper = getattr(value, "__mapper__", None) if isinstance(value, type) else None
    if isinstance(mapper, Mapper):
        return mapper
    parent = getattr(value, "parent", None)
    return getattr(parent, "mapper", None)


def bindings(tree: ModuleTree, name: str, scope: cst.CSTNode) -> int:
    """Count the places inside of a node that bind a variable."""
    return sum(name in set(_bound_by(each)) for each in tree.walk(scope))


def _bound_by(node: cst.CSTNode) -> Iterator[str]:
    """Yield what one node binds by itself, nothing inside of it."""
    if isinstance(node, _BINDING):
        if not isinstance(node.target, cst.Attribute | cst.Subscript):
            yield from names_in(node.target)
    elif isinstance(node, cst.AsName):
        yield from names_in(node.name)
    elif isinstance(node, cst.Param | cst.FunctionDef | cst.ClassDef):
        yield node.name.value
    elif isinstance(node, cst.ImportAlias):
        yield (node.evaluated_alias or node.evaluated_name).partition(".")[0]


def _is_of(assign: cst.Assign, name: str) -> bool:
    (target, *more) = assign.targets
    return not more and isinstance(target.target, cst.Name) and target.target.value == name
