"""A helper that adds an object and commits, called in a loop: added there, committed once."""

from __future__ import annotations

from collections import Counter
from typing import Any

import libcst as cst
from libcst import matchers as m

from flask_perfkit.audit.patches.code.loops import innermost_loop, plain_loop
from flask_perfkit.audit.patches.code.module import ModuleTree
from flask_perfkit.audit.patches.code.names import names_in
from flask_perfkit.audit.patches.code.refusal import Refusal
from flask_perfkit.audit.patches.code.steps import substituted
from flask_perfkit.audit.patches.reads.helpers import arguments_of, check_names
from flask_perfkit.audit.patches.reads.uses import Use, uses_of
from flask_perfkit.audit.patches.writes.inserts import insert_at_once, inserted
from flask_perfkit.audit.patches.writes.units import (
    check_caught,
    check_turns,
    put_behind,
    turn_inside_out,
)
from flask_perfkit.recording.findings import Finding

_WRITES = m.SimpleStatementLine(
    [m.Expr(m.Call(m.Attribute(attr=m.Name("flush") | m.Name("commit")), []))]
)
_ADDS_ONE = m.SimpleStatementLine([m.Expr(m.Call(m.Attribute(attr=m.Name("add"))))])
_ADDS = m.SimpleStatementLine(
    [
        m.Expr(
            m.Call(m.Attribute(attr=m.Name("add")), [m.Arg(m.Name() | m.Call(), keyword=None)])
            | m.Call(m.Attribute(attr=m.Name("delete")), [m.Arg(m.Name())])
        )
    ]
)


def save_behind(tree: ModuleTree, line: cst.CSTNode, finding: Finding) -> None:
    """Put what a helper does before its commit into the loops that call it, and commit behind.

    :raises Refusal: the helper does more, or a loop needs what it gives back.
    """
    helper = tree.function_of(line)
    lines = {number for name, number, _ in finding.callers if name == finding.filename}
    if helper is None or not lines:
        raise Refusal("no loop over something known is around it in its function")
    if helper.decorators:
        _around_block(tree, helper, lines)
        return
    add, write = _steps(helper, line)
    found = False
    for use in uses_of(tree, helper, tree, lines):
        alone = tree.parent(use.node)
        if isinstance(alone, cst.Expr) and innermost_loop(tree, use.node) is not None:
            _save_in_loop(tree, helper, use, tree.parent(alone), add, write)
            found = True
    if not found:
        raise Refusal("no loop over something known is around it in its function")


def _save_in_loop(
    tree: ModuleTree, helper: cst.FunctionDef, use: Use, statement: Any, add: Any, write: Any
) -> None:
    loop = plain_loop(tree, use.node)
    commits = "commit" in tree.code(write)
    check_caught(tree, loop, commits=commits)
    names = (each for each in tree.walk(add) if isinstance(each, cst.Name))
    used = Counter(each.value for each in names if tree.is_variable(each))
    once = all(used[each.name.value] <= 1 for each in helper.params.params)
    values = arguments_of(helper, use.call, use.receiver, made=once)
    if len(list(loop.body.body)) > 1 and list(loop.body.body)[-1] is not statement:
        raise Refusal("the write is not the last step of each iteration")
    check_names(tree, tree, helper, (names_in(add) | names_in(write)) - values.keys(), use.node)
    write = write.with_changes(leading_lines=[], trailing_whitespace=cst.TrailingWhitespace())
    there, write = substituted(tree, add, values), substituted(tree, write, values)
    if names_in(write) & loop.names or not isinstance(use.receiver, cst.Name | None):
        raise Refusal("each iteration has a session of its own")
    if list(loop.body.body) == [statement] and m.matches(add, _ADDS_ONE):
        adding = there.body[0].value
        session = tree.code(adding.func.value)
        new = inserted(tree, loop, session, adding.args[0].value, [write])
        if new is not None:
            loop.replace(lambda _: cst.FlattenSentinel(new))
            return
    check_turns(tree, loop, loop.body, commits=commits, besides=use.call)
    tree.replace(statement, lambda node: there.with_changes(leading_lines=node.leading_lines))
    behind = put_behind(loop, write)
    loop.replace(lambda node: cst.FlattenSentinel([node, behind]))


def _steps(helper: cst.FunctionDef, line: cst.CSTNode) -> tuple[Any, Any]:
    """Return the line that adds, and the one that writes, of a helper that does nothing else."""
    steps: list[Any] = list(helper.body.body)
    docs = m.SimpleStatementLine([m.Expr(m.SimpleString())])
    steps = [each for each in steps if not m.matches(each, docs)]
    returns = m.SimpleStatementLine([m.Return(m.OneOf(m.Name(), None))])
    if len(steps) == 3 and m.matches(steps[2], returns):
        steps.pop()
    if len(steps) != 2 or not m.matches(steps[0], _ADDS) or steps[1] is not line:
        raise Refusal(f"{helper.name.value}() does more than write")
    if not m.matches(steps[1], _WRITES):
        raise Refusal(f"{helper.name.value}() does more than write")
    return steps[0], steps[1]


def _around_block(tree: ModuleTree, helper: cst.FunctionDef, lines: set[int]) -> None:
    """Put a block that commits at its end around the loop that has one in each turn."""
    units = [
        each
        for each in tree.walk()
        if isinstance(each, cst.With) and tree.first_line(each) in lines
    ]
    if len(units) != 1:
        raise Refusal(f"{helper.name.value}() is called through a decorator or an object")
    loop = plain_loop(tree, units[0])
    check_caught(tree, loop, commits=True)
    if not insert_at_once(tree, loop):
        turn_inside_out(tree, loop, units[0])
