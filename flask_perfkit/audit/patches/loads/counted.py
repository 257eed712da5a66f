"""A collection of each object that is only counted, added up or tested: the database does it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import libcst as cst
from libcst import matchers as m
from sqlalchemy import BigInteger, Integer

from flask_perfkit.audit.patches.code.effects import check_only_reads
from flask_perfkit.audit.patches.code.loops import Loop, loop_around
from flask_perfkit.audit.patches.code.module import ModuleTree
from flask_perfkit.audit.patches.code.refusal import Refusal
from flask_perfkit.audit.patches.code.steps import Step
from flask_perfkit.audit.patches.loads.preload import session_of
from flask_perfkit.audit.patches.reads.asked import Asked
from flask_perfkit.audit.patches.reads.children import key_of_children
from flask_perfkit.audit.patches.reads.helpers import bare_place
from flask_perfkit.audit.patches.reads.lookups import prefetch_at
from flask_perfkit.recording.findings import Finding

_SUMMED = m.GeneratorExp(
    m.Attribute(m.Name()), m.CompFor(target=m.Name(), ifs=[], inner_for_in=None)
)


def work_out(tree: ModuleTree, findings: Sequence[Finding]) -> None:
    """Ask the database for the numbers of all objects before the loop over them.

    :raises Refusal: the collection is used for more, or it is not sure that the number is the same.
    """
    (finding,) = findings if len(findings) == 1 else (None,)
    if finding is None:
        raise Refusal("several collections are loaded")
    node, loop = _collection(tree, finding)
    relationship: Any = loop.walked.model.relationships.get(node.attr.value)
    local, remote, target = _plain(relationship)
    tree.need([(target.__module__, target.__name__)])
    check_only_reads(tree, _whole(loop), (), besides=frozenset(), told_by=None)
    session, awaits = session_of(tree, loop)
    if awaits:
        raise Refusal("the collection is loaded with await")
    used, use, root = _used(tree, node, loop, target)
    by_key = Step(
        "filter_by", [cst.Arg(cst.Attribute(node.value, cst.Name(local)), cst.Name(remote))]
    )
    asked = Asked(used, loop.function, session, None, [cst.Arg(root)], [by_key], use)
    prefetch_at(tree, bare_place(asked))


def _collection(tree: ModuleTree, finding: Finding) -> tuple[cst.Attribute, Loop]:
    """Return where a loop's own object is asked for its collection, at the line of a finding."""
    name = finding.subject.rpartition(".")[2]
    for node in tree.around(finding.lineno or 0, cst.Attribute):
        if node.attr.value == name and isinstance(node.value, cst.Name):
            loop = loop_around(tree, node)
            if loop.walked.model is not None and tree.code(loop.node.target) == node.value.value:
                return node, loop
    raise Refusal(f"no loop over the objects is around what reads .{name} there")


def _plain(relationship: Any) -> tuple[str, str, type]:
    """Return the parent's key, the children's, and their class, where rows are what is counted."""
    found = key_of_children(relationship) if relationship is not None else None
    if found is None or not relationship.uselist or relationship.lazy != "select":
        raise Refusal("the collection is no plain one of rows with one key")
    mapper = relationship.mapper
    if relationship.collection_class not in (None, list) or mapper.polymorphic_on is not None:
        raise Refusal("the collection is no plain list of its rows")
    return found[0], found[1], mapper.class_


def _whole(loop: Loop) -> cst.CSTNode:
    """Return the function of a loop, which may not have changed a collection before it."""
    return loop.function.body if loop.function is not None else loop.body


def _used(
    tree: ModuleTree, node: cst.Attribute, loop: Loop, target: type
) -> tuple[Any, str, cst.BaseExpression]:
    """Return the expression that makes one value of a collection, the use, and what to select.

    :raises Refusal: the collection is used for more than that.
    """
    above: Any = tree.parent(node)
    outer: Any = tree.parent(above) if above is not None else None
    name = target.__name__
    if isinstance(above, cst.Arg) and m.matches(outer, m.Call(m.Name("len"), [m.Arg()])):
        return _builtin(tree, outer), "count", cst.Name(name)
    is_test = isinstance(above, cst.If | cst.IfExp) and above.test is node
    if is_test or m.matches(above, m.UnaryOperation(operator=m.Not())):
        return node, "exists", cst.Name(name)
    summing: Any = tree.parent(tree.parent(outer) or outer) if outer is not None else None
    if m.matches(outer, _SUMMED) and m.matches(summing, m.Call(m.Name("sum"), [m.Arg()])):
        element, inner = outer.elt, outer.for_in
        if element.value.value == inner.target.value:
            column = _summed(target, element.attr.value)
            code = f"func.coalesce(func.sum({name}.{column}), 0)"
            return _builtin(tree, summing), "value", cst.parse_expression(code)
    raise Refusal("the collection is used for more than a number")


def _builtin(tree: ModuleTree, call: cst.Call) -> cst.Call:
    if not tree.is_builtin(cst.ensure_type(call.func, cst.Name)):
        raise Refusal("the function that makes the number is not Python's")
    return call


def _summed(target: Any, name: str) -> str:
    """Return the name of a column whose sum is the same in the database and in Python."""
    column = target.__mapper__.column_attrs.get(name)
    kind = column.columns[0].type if column is not None else None
    if column is None or column.columns[0].nullable or not isinstance(kind, Integer):
        raise Refusal("sums of other columns than whole numbers may differ")
    if isinstance(kind, BigInteger):
        raise Refusal("a sum of large numbers may come as another type")
    return name
