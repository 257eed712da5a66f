"""Whether a statement that a session sends flushes first what was added to it."""

from __future__ import annotations

from typing import Any

import libcst as cst
from libcst import matchers as m
from sqlalchemy.orm import scoped_session

from flask_perfkit.audit.patches.code.module import ModuleTree
from flask_perfkit.audit.patches.code.names import value_of

_TURNED_OFF = m.Attribute(attr=m.Name("no_autoflush") | m.Name("autoflush")) | m.Arg(
    keyword=m.Name("autoflush")
)


def may_not_flush(
    tree: ModuleTree, session: cst.BaseExpression, function: cst.FunctionDef | None
) -> bool:
    """Tell whether a function or the factory of its session speaks of autoflush."""
    value = value_of(tree, session, function)
    factory: Any = value.session_factory if isinstance(value, scoped_session) else None
    if not getattr(factory, "kw", {}).get("autoflush", True):
        return True
    return function is not None and bool(m.findall(function, _TURNED_OFF))
