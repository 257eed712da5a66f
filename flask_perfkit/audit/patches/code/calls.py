"""Calls that hold up others, replaced by those that do not."""

from __future__ import annotations

import time

import libcst as cst
from libcst import matchers as m

from flask_perfkit.audit.patches.code.module import ModuleTree
from flask_perfkit.audit.patches.code.refusal import Refusal
from flask_perfkit.recording.findings import Finding


def sleep_without_blocking(tree: ModuleTree, lineno: int, finding: Finding) -> None:
    """Let a coroutine await its sleep.

    :raises Refusal: another call blocks there, or no coroutine is around it.
    """
    wanted = m.Call(func=m.Attribute(attr=m.Name("sleep")) | m.Name("sleep"), args=[m.Arg()])
    call = _only(tree, lineno, wanted)
    function = tree.function_of(call)
    if tree.value(call.func) is not time.sleep or function is None:
        raise Refusal("only time.sleep() is known to have an equal that does not block")
    inner = next((each for each in tree.ancestors(call) if isinstance(each, cst.Lambda)), None)
    if function.asynchronous is None or inner is not None:
        raise Refusal("it stands in a function that cannot await")
    tree.need([("asyncio", "")])
    seconds = tree.code(call.args[0].value)
    tree.replace(call, lambda _: cst.parse_expression(f"await asyncio.sleep({seconds})"))


def scan_keys(tree: ModuleTree, lineno: int, finding: Finding) -> None:
    """Let Redis tell its keys in portions.

    :raises Refusal: it is not clear which call asks for them.
    """
    call = _only(tree, lineno, m.Call(func=m.Attribute(attr=m.Name("keys"))))
    if len(call.args) > 1 or any(each.star for each in call.args):
        raise Refusal("the call has more to it than a pattern")
    client = tree.code(cst.ensure_type(call.func, cst.Attribute).value)
    pattern = f"match={tree.code(call.args[0].value)}, " if call.args else ""
    scan = f"{client}.scan_iter({pattern}count=1000)"
    above = tree.parent(call)
    if isinstance(above, cst.Await):
        tree.replace(above, lambda _: cst.parse_expression(f"[key async for key in {scan}]"))
    else:
        tree.replace(call, lambda _: cst.parse_expression(f"list({scan})"))


def _only(tree: ModuleTree, lineno: int, wanted: m.Call) -> cst.Call:
    calls = [call for call in tree.around(lineno, cst.Call) if m.matches(call, wanted)]
    near = [call for call in calls if tree.named_line(call) == lineno]
    if len(near) != 1:
        raise Refusal(f"it is not clear which call at line {lineno} it is")
    return near[0]
