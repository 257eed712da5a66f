"""An expression that is built up of calls: where it begins, and the methods that follow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import libcst as cst

from flask_perfkit.audit.patches.code.module import ModuleTree, bracketed
from flask_perfkit.audit.patches.code.names import bindings, bound_in, names_in
from flask_perfkit.audit.patches.code.refusal import Refusal

_WHOLE = (cst.SimpleString, cst.FormattedString, cst.Integer, cst.Float)


class Step(NamedTuple):
    """One method of a chain, with what it is given."""

    name: str
    args: Sequence[cst.Arg]


def chain_of(
    node: cst.BaseExpression, begins: Callable[[cst.BaseExpression], bool]
) -> tuple[cst.BaseExpression, list[Step]]:
    """Take the calls of methods off an expression, up to where it begins."""
    steps: list[Step] = []
    while not begins(node) and isinstance(node, cst.Call) and isinstance(node.func, cst.Attribute):
        steps.append(Step(node.func.attr.value, node.args))
        node = node.func.value
    return node, steps[::-1]


def written_out(
    tree: ModuleTree,
    node: cst.BaseExpression,
    at: cst.CSTNode,
    scope: cst.CSTNode,
    change: Callable[[cst.BaseExpression], cst.BaseExpression] = lambda given: given,
) -> tuple[Any, list[cst.SimpleStatementLine]]:
    """Return an expression with what its variables were given, and the lines that gave it.

    :param at: where it is read; only lines of the same block before it are looked at.
    :param scope: what the variables must be bound in: a loop's body, or a function.
    :param change: is done to what a line gives, as the tree has it.
    :raises Refusal: a variable is given its value in a way that cannot be followed.
    """
    gone: list[Any] = []
    bound = bound_in(tree, scope)
    later: list[cst.CSTNode] = []
    for line in reversed(_before(tree, at)):
        given = _given_by(line)
        if given is not None and given[0] in names_in(node) & bound:
            name, value = given
            if any(names_in(value) & bound_in(tree, each) for each in later):
                raise Refusal(f"{name} is built of what changes in the meantime")
            node = substituted(tree, node, {name: change(value)})
            gone.append(line)
        later.append(line)
    names = {given[0] for given in map(_given_by, gone) if given is not None}
    for name in names:
        if bindings(tree, name, scope) != sum(_is_of(each, name) for each in gone):
            raise Refusal(f"{name} is built in several ways")
        if name in names_in(node):
            raise Refusal(f"{name} is given another value in the meantime")
    return node, gone


def are_only_for(
    tree: ModuleTree, lines: Sequence[cst.CSTNode], node: cst.CSTNode, scope: cst.CSTNode
) -> bool:
    """Tell whether what lines give variables is read by an expression only, and by each other."""
    names = {given[0] for given in map(_given_by, lines) if given is not None}
    inside = {id(each) for line in (*lines, node) for each in tree.walk(line)}
    function = tree.function_of(scope) if not isinstance(scope, cst.FunctionDef) else scope
    return not any(
        isinstance(each, cst.Name)
        and each.value in names
        and id(each) not in inside
        and tree.is_variable(each)
        and not _is_given_anew(tree, each)
        for each in tree.walk(function)
    )


def _is_given_anew(tree: ModuleTree, name: cst.Name) -> bool:
    """Tell whether the block that reads a variable, or gives it a value, does so by itself."""
    line = statement_of(tree, name)
    return _is_of(line, name.value) or any(_is_of(each, name.value) for each in _before(tree, name))


def substituted(tree: ModuleTree, node: Any, values: dict[str, cst.BaseExpression]) -> Any:
    """Return an expression with others in the place of variables; the tree's own is left.

    :raises Refusal: a part of it has a variable of its own by that name.
    """
    if bound_in(tree, node) & values.keys():
        raise Refusal("a variable has several meanings in the statement")
    return node.visit(_Substituting(values))


def statement_of(tree: ModuleTree, node: cst.CSTNode) -> cst.CSTNode:
    """Return the statement that a node stands in, as a block holds it.

    :raises Refusal: there is none.
    """
    for each in (node, *tree.ancestors(node)):
        if isinstance(tree.parent(each), cst.IndentedBlock | cst.Module):
            return each
    raise Refusal("it stands in no block")


def call_of(line: cst.CSTNode) -> cst.Call | None:
    """Return the call that is all of a line, awaited or not."""
    if not isinstance(line, cst.SimpleStatementLine) or len(line.body) != 1:
        return None
    (statement,) = line.body
    value = statement.value if isinstance(statement, cst.Expr) else None
    value = value.expression if isinstance(value, cst.Await) else value
    return value if isinstance(value, cst.Call) else None


def _before(tree: ModuleTree, at: cst.CSTNode) -> list[cst.CSTNode]:
    """Return what comes before a node in its block."""
    statement = statement_of(tree, at)
    block: Any = tree.parent(statement)
    return list(block.body[: list(block.body).index(statement)])


def _given_by(line: cst.CSTNode) -> tuple[str, cst.BaseExpression] | None:
    if not isinstance(line, cst.SimpleStatementLine) or len(line.body) != 1:
        return None
    (small,) = line.body
    if not isinstance(small, cst.Assign) or len(small.targets) != 1:
        return None
    target = small.targets[0].target
    return (target.value, small.value) if isinstance(target, cst.Name) else None


def _is_of(line: cst.CSTNode, name: str) -> bool:
    given = _given_by(line)
    return given is not None and given[0] == name


class _Substituting(cst.CSTTransformer):
    def __init__(self, values: dict[str, cst.BaseExpression]) -> None:
        super().__init__()
        self._values = values

    def on_leave(self, original_node: Any, updated_node: Any) -> Any:
        if isinstance(original_node, cst.Attribute):
            return updated_node.with_changes(attr=original_node.attr)
        if isinstance(original_node, cst.Arg):
            return updated_node.with_changes(keyword=original_node.keyword)
        value = (
            self._values.get(original_node.value) if isinstance(original_node, cst.Name) else None
        )
        if value is None:
            return updated_node
        return value if isinstance(value, _WHOLE) else bracketed(value)
