"""Which expression of a line asks a database for something, and for what."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import libcst as cst
from libcst import matchers as m

from flask_perfkit.audit.patches.code.loops import innermost_loop
from flask_perfkit.audit.patches.code.module import ModuleTree
from flask_perfkit.audit.patches.code.refusal import Refusal
from flask_perfkit.audit.patches.reads.asked import Asked
from flask_perfkit.audit.patches.reads.queries import queried_by
from flask_perfkit.audit.patches.reads.sent import sent_by

_SENDS = {"scalar", "scalars", "execute"}
_ENDS = {
    *("all", "first", "one", "one_or_none", "count", "scalar", "first_or_404", "one_or_404"),
}
_CALLED = m.Call(m.Attribute(attr=m.Name(m.MatchIfTrue({*_SENDS, *_ENDS}.__contains__))))
_OF_QUERIES = {
    "all": "rows",
    "first": "value",
    "one": "certain value",
    "first_or_404": "certain value",
    "one_or_404": "certain value",
    "one_or_none": "only value",
    "scalar": "only value",
    "count": "count",
}


def asked_at(tree: ModuleTree, lineno: int, subject: str) -> Asked:
    """Return what a line asks for.

    :param subject: what the finding says that it is, if the line asks for several.
    :raises Refusal: that cannot be told, or it is not built of a select.
    """
    found, reasons = [], []
    for node in _candidates(tree, lineno):
        try:
            asked = _asked_by(tree, node)
        except Refusal as refusal:
            reasons.append(refusal)
            continue
        if asked is not None:
            found.append(asked)
    if len(found) > 1:
        found = [each for each in found if _is_in_loop(tree, each)] or found
        found = [each for each in found if _is_about(tree, each, subject)] or found
    if len(found) == 1:
        return found[0]
    if reasons and not found:
        raise reasons[0]
    raise Refusal(f"it is not clear which expression at line {lineno} sends the query")


def _candidates(tree: ModuleTree, lineno: int) -> Iterator[cst.BaseExpression]:
    """Yield what may ask at a line: calls, and queries that are walked."""
    loops: list[Any] = [*tree.around(lineno, cst.For), *tree.around(lineno, cst.CompFor)]
    calls = [each for each in tree.around(lineno, cst.Call) if tree.named_line(each) == lineno]
    walked = [loop.iter for loop in loops if tree.first_line(loop.iter) == lineno]
    yield from dict.fromkeys((*calls, *walked))


def _is_in_loop(tree: ModuleTree, asked: Asked) -> bool:
    try:
        return innermost_loop(tree, asked.node) is not None
    except Refusal:
        return True


def _is_about(tree: ModuleTree, asked: Asked, subject: str) -> bool:
    mapper = asked.entity(tree)
    return mapper is not None and mapper.class_.__name__ == subject.partition(".")[0]


def _asked_by(tree: ModuleTree, node: cst.BaseExpression) -> Asked | None:
    above = tree.parent(node)
    if isinstance(above, cst.For | cst.CompFor) and above.iter is node:
        return _walked(tree, node)
    return _called(tree, node) if isinstance(node, cst.Call) else None


def _called(tree: ModuleTree, call: cst.Call) -> Asked | None:
    if not isinstance(call.func, cst.Attribute):
        return None
    name = call.func.attr.value
    if name in _SENDS and call.args:
        return sent_by(tree, call, call.func)
    if name in _ENDS and not call.args:
        return queried_by(tree, call, call.func.value, _OF_QUERIES[name])
    return None


def _walked(tree: ModuleTree, node: cst.BaseExpression) -> Asked | None:
    """Return what is asked for by walking it: a query, or what a call gives."""
    if m.matches(node, _CALLED):
        return _called(tree, cst.ensure_type(node, cst.Call))
    return queried_by(tree, node, node, "rows")
