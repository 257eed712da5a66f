"""What a line asks a database for: a select in its steps, who sends it, how the answer is used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import libcst as cst
from libcst import matchers as m
from sqlalchemy.orm import Mapper

from flask_perfkit.audit.patches.module import ModuleTree
from flask_perfkit.audit.patches.names import bindings, given_once, mapper_in
from flask_perfkit.audit.patches.refusal import Refusal
from flask_perfkit.audit.patches.steps import Step, are_only_for, chain_of, written_out

_SENDS = {"scalar", "scalars", "execute"}
_ENDS = {"all", "first", "one_or_none", "count", "scalar"}
_OF_RESULTS = {"all", "first", "scalar", "scalar_one", "scalar_one_or_none", "one_or_none"}
_USES = {
    ("scalar",): "value",
    ("execute", "scalar"): "value",
    ("execute", "scalar_one"): "certain value",
    ("execute", "scalar_one_or_none"): "only value",
    ("scalars", "first"): "value",
    ("scalars", "one_or_none"): "only value",
    ("execute", "scalars", "first"): "value",
    ("execute", "scalars", "one_or_none"): "only value",
    ("scalars", "all"): "rows",
    ("execute", "scalars", "all"): "rows",
}
_OF_COLLECTIONS = {"filter", "filter_by", "where", "order_by"}
_WALKED = {("scalars",), ("execute", "scalars")}
_OF_QUERIES = {
    "all": "rows",
    "first": "value",
    "one_or_none": "only value",
    "scalar": "only value",
    "count": "count",
}


@dataclass(frozen=True)
class Asked:
    """A select that one expression sends.

    ``node`` is what gives the answer. ``session`` is the code of what sends the select; ``query``
    that of the beginning of a legacy query, ``User.query``. ``use`` is ``"rows"``, ``"value"`` of
    the first row if there is one, ``"only value"`` where a second row is an error, ``"certain
    value"`` where none is one too, ``"count"`` or ``"exists"``. ``select`` is what the select is
    called there. ``gone`` are the lines that only built it. ``children`` is the collection of a
    parent that is asked for, as ``user.posts`` in ``user.posts.select()``.
    """

    node: cst.BaseExpression
    function: cst.FunctionDef | None
    session: str
    query: str | None
    root: Sequence[cst.Arg]
    steps: Sequence[Step]
    use: str
    awaits: bool = False
    select: str = "select"
    gone: tuple[cst.SimpleStatementLine, ...] = ()
    children: cst.Attribute | None = None

    def entity(self, tree: ModuleTree) -> Mapper[Any] | None:
        """Return the mapper of what the select begins with."""
        inner = self.root[0].value if self.root else None
        while isinstance(inner, cst.Call) and inner.args:
            inner = inner.args[0].value
        mapper = mapper_in(tree, inner, self.function) if inner is not None else None
        if mapper is None and (of := next(self.arguments("select_from"), None)) is not None:
            mapper = mapper_in(tree, of, self.function)
        return mapper

    def arguments(self, name: str) -> Iterator[cst.BaseExpression]:
        """Yield what all steps of one name are given by position."""
        for step in self.steps:
            if step.name == name:
                yield from (each.value for each in step.args if each.keyword is None)

    @property
    def names(self) -> set[str]:
        """The names of its steps."""
        return {step.name for step in self.steps}


def asked_at(tree: ModuleTree, lineno: int, subject: str) -> Asked:
    """Return what a line asks for.

    :param subject: what the finding says that it is, if the line asks for several.
    :raises Refusal: that cannot be told, or it is not built of a select.
    """
    calls = [call for call in tree.around(lineno, cst.Call) if tree.first_line(call) == lineno]
    found, reasons = [], []
    for call in calls:
        try:
            asked = _asked_by(tree, call)
        except Refusal as refusal:
            reasons.append(refusal)
            continue
        if asked is not None:
            found.append(asked)
    if len(found) > 1:
        found = [each for each in found if _is_about(tree, each, subject)] or found
    if len(found) == 1:
        return found[0]
    if reasons and not found:
        raise reasons[0]
    raise Refusal(f"it cannot be told which expression at line {lineno} asks")


def _is_about(tree: ModuleTree, asked: Asked, subject: str) -> bool:
    mapper = asked.entity(tree)
    return mapper is not None and mapper.class_.__name__ == subject.partition(".")[0]


def _asked_by(tree: ModuleTree, call: cst.Call) -> Asked | None:
    if not isinstance(call.func, cst.Attribute):
        return None
    name = call.func.attr.value
    if name in _SENDS and call.args:
        return _sent(tree, call, call.func)
    if name in _ENDS and not call.args:
        return _queried(tree, call, call.func)
    return None


def _sent(tree: ModuleTree, call: cst.Call, sender: cst.Attribute) -> Asked:
    function = tree.function_of(call)
    node, methods, named = _answer(tree, call)
    is_walked = tuple(methods) in _WALKED and _is_walked(tree, node)
    use = "rows" if is_walked else _USES.get(tuple(methods))
    if use is None:
        raise Refusal(f"what .{'.'.join(methods)}() gives is used in a way of its own")
    statement, gone = _statement(tree, call, function)
    begin, steps = chain_of(statement, lambda each: _is_select(tree, each))
    if _is_collection(begin) and steps and steps[0] == ("select", ()):
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
    return _tested(tree, asked) or asked


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


def _queried(tree: ModuleTree, call: cst.Call, end: cst.Attribute) -> Asked | None:
    """Return what a legacy query asks for."""
    function = tree.function_of(call)
    query, gone = end.value, list[cst.SimpleStatementLine]()
    if function is not None:
        query, gone = written_out(tree, end.value, call, tree.block_of(call))
        gone = gone if are_only_for(tree, gone, end.value, tree.block_of(call)) else []
    begin, steps = chain_of(query, _is_query)
    use = _OF_QUERIES[end.attr.value]
    if _is_collection(begin) and {step.name for step in steps} <= _OF_COLLECTIONS:
        children = cst.ensure_type(begin, cst.Attribute)
        return Asked(*(call, function, "", "", (), steps, use), gone=tuple(gone), children=children)
    if not _is_query(begin):
        return None
    root, session, code = _begun(tree, begin)
    asked = Asked(call, function, session, code, root, steps, use, gone=tuple(gone))
    if not steps and use == "only value" and len(root) == 1:
        inner, within = chain_of(root[0].value, _is_query)
        if _is_query(inner) and within and within[-1] == ("exists", ()):
            root, session, code = _begun(tree, inner)
            return replace(
                asked, session=session, query=code, root=root, steps=within[:-1], use="exists"
            )
    return asked


def _is_collection(node: cst.BaseExpression) -> bool:
    return m.matches(node, m.Attribute(m.Name())) and not _is_query(node)


def _is_query(node: cst.BaseExpression) -> bool:
    """Tell whether an expression begins a legacy query, as ``User.query`` does."""
    if isinstance(node, cst.Call) and isinstance(node.func, cst.Attribute):
        return node.func.attr.value == "query"
    return isinstance(node, cst.Attribute) and node.attr.value == "query"


def _begun(tree: ModuleTree, begin: cst.BaseExpression) -> tuple[Sequence[cst.Arg], str, str]:
    if isinstance(begin, cst.Call):
        owner = cst.ensure_type(begin.func, cst.Attribute).value
        return begin.args, tree.code(owner), tree.code(begin)
    model = cst.ensure_type(begin, cst.Attribute).value
    return [cst.Arg(model)], "", tree.code(begin)
