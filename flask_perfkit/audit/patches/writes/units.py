"""A flush or a commit of each turn, moved behind the loop; a unit of work, put around it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

import libcst as cst
from libcst import matchers as m

from flask_perfkit.audit.patches.code.loops import Loop
from flask_perfkit.audit.patches.code.module import ModuleTree
from flask_perfkit.audit.patches.code.names import bound_in, names_in, value_of
from flask_perfkit.audit.patches.code.refusal import Refusal
from flask_perfkit.audit.patches.code.rows import may_be_unique

_UNITS = m.Call(
    func=m.Attribute(attr=m.Name("begin_nested") | m.Name("begin"))
    | m.Name("Session")
    | m.Name("AsyncSession"),
)
_MANAGED = contextmanager(iter).__code__
_COMMITS = m.Attribute(attr=m.Name("commit"))
_FAILS = (cst.Raise, cst.Assert)
_MAY_FAIL = {"int", "float", "next"}
_FINDS = {"get", "get_one", "first", "one", "scalar_one", "one_or_none", "scalar", "pop"}
_WOULD_GO = "an iteration may fail, and what the iterations before it have committed would be lost"
_OF_SESSIONS = {"add", "add_all", "delete", "flush", "commit"}


def check_unit(tree: ModuleTree, loop: Loop, unit: cst.With) -> None:
    """See to it that a unit of work may be one for all turns.

    :raises Refusal: it is the application's own, or differs between iterations.
    """
    for item in unit.items:
        is_known = m.matches(item.item, _UNITS) or _only_commits(tree, item.item)
        if unit.asynchronous is not None or not is_known:
            raise Refusal("the unit of work is the application's own")
        if loop.walked.may_be_empty() and not m.matches(item.item, _UNITS):
            raise Refusal("without any iteration, the block would commit all the same")
        if names_in(item.item) & loop.targets:
            raise Refusal("each iteration has a unit of work of its own")


def _only_commits(tree: ModuleTree, item: cst.BaseExpression) -> bool:
    """Tell whether a block gives a session, and does nothing at its end but to commit."""
    if not isinstance(item, cst.Call) or not isinstance(item.func, cst.Name) or item.args:
        return False
    name = item.func.value
    made = [each for each in tree.walk() if m.matches(each, m.FunctionDef(m.Name(name)))]
    manager = value_of(tree, item.func, tree.function_of(item))
    if len(made) != 1 or getattr(manager, "__code__", None) is not _MANAGED:
        return False
    lines: Any = cst.ensure_type(made[0], cst.FunctionDef).body
    ends = m.Expr(m.Call(m.Attribute(attr=m.Name("commit") | m.Name("flush")), []))
    first = m.SimpleStatementLine([m.Expr(m.Yield(m.OneOf(m.Name(), m.Attribute())))])
    return (
        len(lines.body) == 2
        and m.matches(lines.body[0], first)
        and m.matches(lines.body[1], m.SimpleStatementLine([ends]))
    )


def check_caught(tree: ModuleTree, loop: Loop, *, commits: bool) -> None:
    """See to it that nobody goes on with the rows of the turns before one that fails.

    :param commits: whether each turn commits, so that no rollback takes those rows back.
    :raises Refusal: somebody may.
    """
    ends = m.Raise() | m.Call(m.Attribute(attr=m.Name("rollback"))) if not commits else m.Raise()
    for each in tree.ancestors(loop.node):
        if isinstance(each, cst.FunctionDef):
            break
        handlers = each.handlers if isinstance(each, cst.Try | cst.TryStar) else ()
        if not all(m.findall(handler, ends) for handler in handlers):
            raise Refusal(
                "an iteration may fail, and the rows of the iterations before it are kept"
            )


def move_behind(tree: ModuleTree, loop: Loop, line: cst.SimpleStatementLine) -> None:
    """Flush or commit once, behind the loop.

    :raises Refusal: a turn may need what the one before it has written.
    """
    steps: list[Any] = list(loop.body.body)
    if steps[-1] is not line or len(steps) < 2:
        raise Refusal("the write is not the last step of each iteration")
    check_turns(tree, loop, loop.body, commits=bool(m.findall(line, _COMMITS)))
    behind = put_behind(loop, line)
    tree.replace(line, lambda _: cst.RemoveFromParent())
    loop.replace(lambda node: cst.FlattenSentinel([node, behind]))


def put_behind(loop: Loop, line: cst.SimpleStatementLine) -> Any:
    """Return a line as it stands behind a loop: without any turn nothing was committed."""
    behind: Any = line.with_changes(leading_lines=[])
    if not loop.walked.may_be_empty() or not m.findall(behind, _COMMITS):
        return behind
    return cst.If(cst.parse_expression(loop.items()), cst.IndentedBlock([behind]))


def turn_inside_out(
    tree: ModuleTree, loop: Loop, unit: cst.With, last: cst.SimpleStatementLine | None = None
) -> None:
    """Put the unit of work around the loop, and its last step behind the loop.

    :raises Refusal: the loop does more, or a turn may need what the one before it has written.
    """
    if list(loop.body.body) != [unit] or not isinstance(unit.body, cst.IndentedBlock):
        raise Refusal("the unit of work is not all that each iteration does")
    check_unit(tree, loop, unit)
    check_turns(tree, loop, unit.body, commits=True)
    steps = list(unit.body.body)
    if last is not None and (steps[-1] is not last or len(steps) < 2):
        raise Refusal("the write is not the last step of each iteration")

    def turned(node: cst.For) -> cst.With:
        inner = cst.ensure_type(cst.ensure_type(node.body, cst.IndentedBlock).body[0], cst.With)
        body: Any = list(inner.body.body)
        kept = body[:-1] if last is not None else body
        moved = node.with_changes(
            body=cst.ensure_type(inner.body, cst.IndentedBlock).with_changes(body=kept),
            leading_lines=[],
        )
        return inner.with_changes(
            body=cst.IndentedBlock([moved, *body[len(kept) :]]), leading_lines=node.leading_lines
        )

    loop.replace(turned)


def check_turns(
    tree: ModuleTree,
    loop: Loop,
    body: cst.CSTNode,
    *,
    commits: bool,
    besides: cst.Call | None = None,
) -> None:
    """See to it that no turn needs what another one has written before it.

    :param body: what each turn does.
    :param besides: a call that is known to do no more than to write.

    :raises Refusal: one may.
    """
    for each in tree.walk(body):
        if commits and isinstance(each, _FAILS):
            raise Refusal(_WOULD_GO)
        target = each.target if isinstance(each, cst.AssignTarget) else None
        if isinstance(target, cst.Attribute) and _may_be_unique(tree, loop, target):
            raise Refusal(f".{target.attr.value} is unique: the order of writes may count")
        if commits and isinstance(each, cst.Call) and each is not besides:
            _check_stays_inside(tree, loop, each)
    called = {
        each.func.attr.value
        for each in tree.walk(body)
        if isinstance(each, cst.Call) and isinstance(each.func, cst.Attribute)
    }
    if "delete" in called and called & {"add", "add_all", "merge"}:
        raise Refusal("each iteration deletes and adds, and a flush adds before it deletes")
    for name in bound_in(tree, body):
        if name not in loop.targets and _is_carried(tree, loop, name):
            raise Refusal(f"{name} is what the iteration before it has left")


def _may_be_unique(tree: ModuleTree, loop: Loop, target: cst.Attribute) -> bool:
    is_walked = tree.code(target.value) == tree.code(loop.node.target)
    return may_be_unique(target.attr.value, loop.walked.model if is_walked else None)


def _check_stays_inside(tree: ModuleTree, loop: Loop, call: cst.Call) -> None:
    """See to it that a call before a commit is nothing that others see, such as a mail.

    :raises Refusal: it may be.
    """
    if isinstance(call.func, cst.Name):
        value = value_of(tree, call.func, loop.function)
        is_model = isinstance(value, type) and hasattr(value, "__mapper__")
        if not is_model and not tree.is_builtin(call.func):
            raise Refusal(f"{call.func.value}() may do what a commit before it was meant for")
        if not is_model and call.func.value in _MAY_FAIL:
            raise Refusal(_WOULD_GO)
    elif isinstance(call.func, cst.Attribute):
        name = call.func.attr.value
        if name in _FINDS and not m.matches(call, m.Call(args=[m.Arg(m.SimpleString())])):
            raise Refusal(_WOULD_GO)
        if name not in _OF_SESSIONS and tree.methods[name]:
            raise Refusal(f".{name}() may do what a commit before it was meant for")
        if name.startswith("abort") or name.endswith("_or_404"):
            raise Refusal(_WOULD_GO)


def _is_carried(tree: ModuleTree, loop: Loop, name: str) -> bool:
    """Tell whether a turn reads a variable before it gives it a value itself."""
    for each in tree.walk(loop.body):
        if isinstance(each, cst.Assign):
            if name in names_in(each.value):
                return True
            if name in bound_in(tree, each):
                return False
        elif isinstance(each, cst.AugAssign) and name in names_in(each.target):
            return not isinstance(each.target, cst.Name)
        elif isinstance(each, cst.Name) and each.value == name and tree.is_variable(each):
            above = tree.parent(each)
            return not isinstance(above, cst.AssignTarget | cst.AsName | cst.For | cst.CompFor)
    return False
