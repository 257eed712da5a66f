"""Values that Python works out, the same whether all are worked out before or each in its turn."""

from __future__ import annotations

from typing import Any

import libcst as cst

from flask_perfkit.audit.patches.code.loops import Loop
from flask_perfkit.audit.patches.code.module import ModuleTree
from flask_perfkit.audit.patches.code.names import value_of
from flask_perfkit.audit.patches.code.refusal import Refusal
from flask_perfkit.recording.callsite import is_application

_PURE = {"strip", "lower", "upper", "title", "format", "replace", "isoformat", "hex", "split"}


def check_plain(tree: ModuleTree, loop: Loop, node: cst.CSTNode) -> None:
    """See to it that values are Python's, and are the same when all are worked out before.

    :raises Refusal: one may be SQL, or may come of what the loop writes.
    """
    for each in tree.walk(node):
        if isinstance(each, cst.Await | cst.NamedExpr | cst.Yield):
            raise Refusal("a value is worked out by what may write")
        if isinstance(each, cst.Name | cst.Attribute):
            _check_is_python(value_of(tree, each, loop.function))
        if isinstance(each, cst.Call):
            _check_pure(tree, loop, each)


def _check_is_python(value: Any) -> None:
    kind = value if isinstance(value, type) else type(value)
    if kind.__module__.partition(".")[0] == "sqlalchemy" or hasattr(value, "__mapper__"):
        raise Refusal("a value is worked out by the database")


def _check_pure(tree: ModuleTree, loop: Loop, call: cst.Call) -> None:
    if isinstance(call.func, cst.Name) and tree.is_builtin(call.func):
        return
    if isinstance(call.func, cst.Attribute) and call.func.attr.value in _PURE:
        return
    value = value_of(tree, call.func, loop.function)
    code = getattr(value, "__code__", None)
    is_foreign = value is not None and (code is None or not is_application(code.co_filename))
    if not is_foreign or tree.code(call.func).startswith(("db.", "session.")):
        raise Refusal("a value is worked out by calls")
