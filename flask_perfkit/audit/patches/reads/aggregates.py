"""A count or a sum by the database, in the place of ``len()`` and ``sum()`` of rows."""

from __future__ import annotations

from typing import Any

import libcst as cst
from libcst import matchers as m

from flask_perfkit.audit.patches.code.module import ModuleTree
from flask_perfkit.audit.patches.code.places import callee
from flask_perfkit.audit.patches.code.refusal import Refusal
from flask_perfkit.cures.aggregation import Aggregation
from flask_perfkit.recording.findings import Finding

_STILL_ROWS = m.Attribute(attr=m.Name("all") | m.Name("scalars") | m.Name("fetchall"))
_KEEPS_ROWS = {"where", "filter", "filter_by", "join", "outerjoin"}


def aggregate(tree: ModuleTree, lineno: int, finding: Finding) -> None:
    """Let the database work out the number.

    :raises Refusal: the rows, or what is made of them, are not seen in one expression.
    """
    cure = finding.cure
    if not isinstance(cure, Aggregation) or cure.sent.span is None:
        raise Refusal("it is not certain that the database returns the same number")
    call = tree.expression_at(cure.sent.span)
    if not isinstance(call, cst.Call) or not isinstance(call.func, cst.Attribute):
        raise Refusal(f"it is not clear which expression at line {lineno} sends the query")
    number = _number(tree, _rows(tree, call), cure)
    owner = tree.code(call.func.value)
    if call.func.attr.value == "all" and not call.args and cure.attribute is None:
        code = f"{owner}.count()"
    elif call.func.attr.value in ("scalars", "execute") and len(call.args) == 1:
        code = f"{owner}.scalar({_select(tree, call.args[0].value, cure)})"
    else:
        raise Refusal("the rows are queried in an unusual way")
    tree.replace(number, lambda _: cst.parse_expression(code))


def _rows(tree: ModuleTree, call: cst.BaseExpression) -> cst.BaseExpression:
    """Return the outermost expression that is still these rows."""
    node = call
    while True:
        above = tree.parent(node)
        following = tree.parent(above) if above is not None else None
        if not m.matches(above or node, _STILL_ROWS) or not isinstance(following, cst.Call):
            return node
        if following.args:
            return node
        node = following


def _number(tree: ModuleTree, rows: Any, cure: Aggregation) -> cst.BaseExpression:
    """Return the expression that makes a number of rows and nothing else."""
    above = tree.parent(rows)
    if cure.attribute is None:
        wanted: Any = m.Call(
            func=m.Name("len"), args=[m.Arg(value=m.MatchIfTrue(lambda n: n is rows))]
        )
        number: Any = tree.parent(above) if above is not None else None
    else:
        comprehension = tree.parent(above) if isinstance(above, cst.CompFor) else None
        argument = tree.parent(comprehension) if comprehension is not None else None
        number = tree.parent(argument) if argument is not None else None
        wanted = m.Call(func=m.Name("sum"), args=[m.Arg(m.GeneratorExp() | m.ListComp())])
    if number is None or not m.matches(number, wanted):
        raise Refusal("the rows are kept, and the number is made of them later")
    assert isinstance(number, cst.BaseExpression)
    return number


def _select(tree: ModuleTree, statement: cst.BaseExpression, cure: Aggregation) -> str:
    """Return the select of the number, as code: with the conditions, without the order."""
    steps: list[str] = []
    node: Any = statement
    while isinstance(node, cst.Call) and isinstance(node.func, cst.Attribute):
        name = callee(node)
        if name == "select":
            break
        if name in _KEEPS_ROWS:
            steps.insert(
                0, f".{name}({', '.join(tree.code(each).rstrip(', ') for each in node.args)})"
            )
        elif name != "order_by":
            raise Refusal(f"the statement has .{name}()")
        node = node.func.value
    if not isinstance(node, cst.Call) or callee(node) != "select" or len(node.args) != 1:
        raise Refusal("the statement is not built where it is sent")
    model = tree.code(node.args[0].value)
    tree.need([("sqlalchemy", "func")])
    number = (
        f"func.coalesce(func.sum({model}.{cure.attribute}), 0)"
        if cure.attribute
        else "func.count()"
    )
    return f"{tree.code(node.func)}({number}).select_from({model}){''.join(steps)}"
