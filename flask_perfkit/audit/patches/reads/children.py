"""The children of a parent that are asked for by a select: by which key it finds them."""

from __future__ import annotations

from dataclasses import replace
from inspect import getattr_static
from typing import Any

import libcst as cst
from sqlalchemy.sql import operators

from flask_perfkit.audit.patches.code.loops import Loop
from flask_perfkit.audit.patches.code.module import ModuleTree
from flask_perfkit.audit.patches.code.refusal import Refusal
from flask_perfkit.audit.patches.code.steps import Step
from flask_perfkit.audit.patches.reads.asked import Asked

_ASKS = ("dynamic", "write_only")


def key_of_children(relationship: Any) -> tuple[str, str, Any] | None:
    """Return the parent's key, the children's, and its column; None where there is more to it."""
    pairs: Any = getattr(relationship, "local_remote_pairs", ())
    if len(pairs) != 1 or relationship.secondary is not None:
        return None
    condition = relationship.primaryjoin
    if getattr(condition, "operator", None) is not operators.eq:
        return None
    ((local, remote),) = pairs
    source = relationship.parent.get_property_by_column(local).key
    return source, relationship.mapper.get_property_by_column(remote).key, remote


def of_children(tree: ModuleTree, asked: Asked, loop: Loop) -> Asked:
    """Return what ``user.posts.select()`` or ``user.posts.count()`` asks for, as a select by key.

    :raises Refusal: it is no plain collection of what the loop walks.
    """
    children = asked.children
    if children is None:
        return asked
    relationship: Any = None
    if loop.walked.model is not None and tree.code(children.value) == tree.code(loop.node.target):
        relationship = loop.walked.model.relationships.get(children.attr.value)
    found = key_of_children(relationship) if relationship is not None else None
    if found is None or relationship.order_by or relationship.lazy not in _ASKS:
        raise Refusal("it is not clear which expression sends the query")
    local, remote, _ = found
    target = relationship.mapper.class_
    if asked.query is not None and getattr_static(target, "query", None) is None:
        raise Refusal("the collection is no plain query of its model")
    tree.need([(target.__module__, target.__name__)])
    value = cst.Attribute(children.value, cst.Name(local))
    by_key = Step("filter_by", [cst.Arg(value, keyword=cst.Name(remote))])
    model = cst.Name(target.__name__)
    query = f"{target.__name__}.query" if asked.query is not None else None
    return replace(
        asked, root=[cst.Arg(model)], query=query, steps=[by_key, *asked.steps], children=None
    )
