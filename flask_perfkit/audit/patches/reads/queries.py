"""Legacy queries: what ``User.query`` and ``session.query(User)`` ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import libcst as cst
from libcst import matchers as m

from flask_perfkit.audit.patches.code.module import ModuleTree
from flask_perfkit.audit.patches.code.steps import are_only_for, chain_of, written_out
from flask_perfkit.audit.patches.reads.asked import Asked

_OF_COLLECTIONS = {"filter", "filter_by", "where", "order_by"}


def queried_by(
    tree: ModuleTree, call: cst.BaseExpression, ended: cst.BaseExpression, use: str
) -> Asked | None:
    """Return what a legacy query asks for.

    :param ended: the query without the call that sends it.
    """
    function = tree.function_of(call)
    query, gone = ended, list[cst.SimpleStatementLine]()
    if function is not None:
        query, gone = written_out(tree, ended, call, tree.block_of(call))
        gone = gone if are_only_for(tree, gone, ended, tree.block_of(call)) else []
    begin, steps = chain_of(query, begins_query)
    if is_collection(begin) and {step.name for step in steps} <= _OF_COLLECTIONS:
        children = cst.ensure_type(begin, cst.Attribute)
        return Asked(*(call, function, "", "", (), steps, use), gone=tuple(gone), children=children)
    if not begins_query(begin):
        return None
    root, session, code = _begun(tree, begin)
    asked = Asked(call, function, session, code, root, steps, use, gone=tuple(gone))
    if not steps and use == "only value" and len(root) == 1:
        inner, within = chain_of(root[0].value, begins_query)
        if begins_query(inner) and within and within[-1] == ("exists", ()):
            root, session, code = _begun(tree, inner)
            return replace(
                asked, session=session, query=code, root=root, steps=within[:-1], use="exists"
            )
    return asked


def is_collection(node: cst.BaseExpression) -> bool:
    """Tell whether an expression may be the collection of a parent, as ``user.posts``."""
    return m.matches(node, m.Attribute(m.Name())) and not begins_query(node)


def begins_query(node: cst.BaseExpression) -> bool:
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
