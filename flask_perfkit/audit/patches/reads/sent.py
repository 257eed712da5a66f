"""A select that a session or a connection sends: its steps, and how the answer is used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import libcst as cst
from libcst import matchers as m

from flask_perfkit.audit.patches.code.module import ModuleTree
from flask_perfkit.audit.patches.code.names import bindings, given_once
from flask_perfkit.audit.patches.code.refusal import Refusal
from flask_perfkit.audit.patches.code.steps import are_only_for, chain_of, written_out
from flask_perfkit.audit.patches.reads.asked import Asked
from flask_perfkit.audit.patches.reads.flat import flattened
from flask_perfkit.audit.patches.reads.queries import is_collection

_OF_RESULTS = {
    *("all", "first", "scalar", "scalar_one", "scalar_one_or_none", "one", "one_or_none"),
}
_USES = {
    ("scalar",): "value",
    ("execute", "scalar"): "value",
    ("execute", "scalar_one"): "certain value",
    ("execute", "scalar_one_or_none"): "only value",
    ("scalars", "one"): "certain value",
    ("scalars", "first"): "value",
    ("scalars", "one_or_none"): "only value",
    ("execute", "scalars", "one"): "certain value",
    ("execute", "scalars", "first"): "value",
    ("execute", "scalars", "one_or_none"): "only value",
    ("scalars", "all"): "rows",
    ("execute", "scalars", "all"): "rows",
}
_WALKED = {("scalars",), ("execute", "scalars")}


def sent_by(tree: ModuleTree, call: cst.Call, sender: cst.Attribute) -> Asked:
    function = tree.function_of(call)
    node, methods, named = _answer(tree, call)
    is_walked = tuple(methods) in _WALKED and _is_walked(tree, node)
    use = "rows" if is_walked else _USES.get(tuple(methods))
    if use is None:
        raise Refusal(f"what .{'.'.join(methods)}() returns is used in an unusual way")
    statement, gone = _statement(tree, call, function)
    begin, steps = chain_of(statement, lambda each: _is_select(tree, each))
    if is_collection(begin) and steps and steps[0] == ("select", ()):
        children = cst.ensure_type(begin, cst.Attribute)
        session = tree.code(sender.value)
        return Asked(
            *(node, function, session, None, (), steps[1:], use),
            gone=(*gone, *named),
            children=children,
        )
    if not isinstance(begin, cst.Call):
        raise Refusal("the statement does not begin with select() where it is sent")
    awaits = isinstance(tree.parent(call), cst.Await)
    asked = Asked(
        *(node, function, tree.code(sender.value), None, begin.args, steps, use, awaits),
        select=tree.code(begin.func),
        gone=(*gone, *named),
    )
    return _tested(tree, asked) or flattened(tree, asked) or asked


def _answer(
    tree: ModuleTree, call: cst.Call
) -> tuple[cst.BaseExpression, list[str], list[cst.SimpleStatementLine]]:
    """Return the expression that ends with what the result gives, and the methods up to it.

    The third are the lines that gave the result a name, which nothing else reads.
    """
    assert isinstance(call.func, cst.Attribute)
    methods, gone = [call.func.attr.value], []
    node: Any = tree.parent(call) if isinstance(tree.parent(call), cst.Await) else call
    while methods[-1] not in _OF_RESULTS:
        line, read = _named(tree, node)
        above = tree.parent(read)
        following = tree.parent(above) if isinstance(above, cst.Attribute) else None
        if not isinstance(following, cst.Call) or following.args:
            break
        assert isinstance(above, cst.Attribute)
        if above.attr.value not in {*_OF_RESULTS, "scalars"}:
            break
        methods.append(above.attr.value)
        node = following
        gone += [line] if line is not None else []
    return node, methods, gone


def _named(tree: ModuleTree, node: Any) -> tuple[cst.SimpleStatementLine | None, cst.CSTNode]:
    """Return the line that gives a result a name, and the one place that reads it."""
    assign = tree.parent(node)
    line: Any = tree.parent(assign) if isinstance(assign, cst.Assign) else None
    if not isinstance(assign, cst.Assign) or len(assign.targets) != 1 or len(line.body) != 1:
        return None, node
    target = assign.targets[0].target
    block = tree.block_of(node)
    if not isinstance(target, cst.Name) or bindings(tree, target.value, block) != 1:
        return None, node
    reads = [
        each
        for each in tree.walk(block)
        if m.matches(each, m.Name(target.value)) and each is not target
    ]
    if len(reads) == 1 and are_only_for(tree, [line], reads[0], block):
        return line, reads[0]
    return None, node


def _is_walked(tree: ModuleTree, node: cst.BaseExpression) -> bool:
    above = tree.parent(node)
    return isinstance(above, cst.For | cst.CompFor) and above.iter is node


def _statement(
    tree: ModuleTree, call: cst.Call, function: cst.FunctionDef | None
) -> tuple[cst.BaseExpression, list[cst.SimpleStatementLine]]:
    """Return the statement that a call sends, with nothing of it hidden in variables."""
    if any(each.star for each in call.args) or len(call.args) > 2:
        raise Refusal("the statement gets its values apart")
    statement: Any = call.args[0].value
    values = {}
    if len(call.args) == 2:
        if call.args[1].keyword is not None or not isinstance(call.args[1].value, cst.Dict):
            raise Refusal("the statement gets its values apart")
        values = dict(_pairs(call.args[1].value))
    gone: list[cst.SimpleStatementLine] = []
    if function is not None:
        block: Any = tree.block_of(call)
        statement, gone = written_out(tree, statement, call, block)
        gone = gone if are_only_for(tree, gone, call.args[0], block) else []
    begin, _ = chain_of(statement, lambda each: _is_select(tree, each))
    if isinstance(begin, cst.Name):
        given = given_once(tree, begin.value, function)
        if given is not None and isinstance(statement, cst.Name):
            statement = given
    return statement.visit(_Filled(values)) if values else statement, gone


def _pairs(given: cst.Dict) -> Iterator[tuple[str, cst.BaseExpression]]:
    for each in given.elements:
        if not isinstance(each, cst.DictElement) or not isinstance(each.key, cst.SimpleString):
            raise Refusal("the values are no plain dictionary")
        yield str(each.key.evaluated_value), each.value


class _Filled(cst.CSTTransformer):
    """Puts values in the place of ``bindparam("name")``."""

    def __init__(self, values: dict[str, cst.BaseExpression]) -> None:
        super().__init__()
        self._values = values

    def on_leave(self, original_node: Any, updated_node: Any) -> Any:
        named = m.Call(m.Name("bindparam"), [m.Arg(m.SimpleString())])
        if not m.matches(updated_node, named):
            return updated_node
        name = cst.ensure_type(updated_node.args[0].value, cst.SimpleString).evaluated_value
        return self._values.get(str(name), updated_node)


def _is_select(tree: ModuleTree, node: cst.BaseExpression) -> bool:
    if not isinstance(node, cst.Call):
        return False
    return tree.code(node.func).rpartition(".")[2] in ("select", "exists") and (
        not isinstance(node.func, cst.Attribute) or tree.value(node.func) is not None
    )


def _tested(tree: ModuleTree, asked: Asked) -> Asked | None:
    """Return what is only tested for being there, in ``select(exists().where(…))``."""
    inner = asked.root[0].value if len(asked.root) == 1 and not asked.steps else None
    if inner is None:
        return None
    begin, steps = chain_of(inner, lambda each: _is_select(tree, each))
    if not isinstance(begin, cst.Call) or asked.use not in ("value", "certain value"):
        return None
    kind = tree.code(begin.func).rpartition(".")[2]
    if kind == "select" and steps and steps[-1] == ("exists", ()):
        named = tree.code(begin.func)
        return replace(asked, root=begin.args, steps=steps[:-1], use="exists", select=named)
    if kind != "exists":
        return None
    if begin.args and isinstance(begin.args[0].value, cst.Call):
        begin, inside = chain_of(begin.args[0].value, lambda each: _is_select(tree, each))
        steps = [*inside, *steps]
        if not isinstance(begin, cst.Call):
            return None
    return replace(asked, root=begin.args, steps=steps, use="exists")
