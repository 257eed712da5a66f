"""What a loop does beside asking: whether it may write to the database, or to what it walks."""

from __future__ import annotations

from collections.abc import Sequence
from types import CodeType, FunctionType
from typing import Any

import libcst as cst
from flask import g
from libcst import matchers as m

from flask_perfkit.audit.patches.code.module import ModuleTree
from flask_perfkit.audit.patches.code.names import given_once, value_of
from flask_perfkit.audit.patches.code.refusal import Refusal
from flask_perfkit.audit.patches.code.rows import is_plain_column, is_row_alone
from flask_perfkit.audit.patches.code.source import within
from flask_perfkit.recording.callsite import is_application

WRITES = {
    *("add", "add_all", "merge", "delete", "flush", "commit", "rollback", "refresh", "expire"),
    *("expire_all", "expunge", "expunge_all", "begin", "begin_nested", "bulk_save_objects"),
    *("bulk_insert_mappings", "bulk_update_mappings", "close", "remove", "insert", "update"),
    *("exec_driver_sql", "run_sync"),
}
_ASKS = {"execute", "scalar", "scalars", "stream", "stream_scalars"}
_CHANGES = {
    *("append", "extend", "insert", "pop", "remove", "clear", "popleft", "appendleft", "sort"),
    *("update", "setdefault", "popitem"),
}
_PLAIN = (cst.List, cst.Set, cst.Dict, cst.ListComp, cst.SetComp, cst.DictComp)
_COLLECTIONS = {"list", "set", "dict", "defaultdict", "Counter", "OrderedDict", "deque"}
_DEPTH = 4


def check_only_reads(
    tree: ModuleTree,
    body: cst.CSTNode,
    gone: Sequence[cst.CSTNode],
    *,
    besides: frozenset[str],
    told_by: frozenset[str] | None,
) -> None:
    """See to it that a loop's body does not write what it reads.

    :param gone: the parts of it that a patch replaces, or has seen to.
    :param besides: tables that it may add rows to all the same.
    :param told_by: the attributes that tell which rows are read; others may change. None if all do.
    :raises Refusal: it may write what it reads.
    """
    inside = {id(each) for node in gone for each in tree.walk(node)}
    for each in tree.walk(body):
        if isinstance(each, cst.Call) and id(each) not in inside:
            _check_call(tree, each, besides)
        elif isinstance(each, cst.AssignTarget | cst.AugAssign | cst.Del):
            _check_change(tree, each.target, told_by)
        elif isinstance(each, cst.Try) and told_by is not None:
            told_by = None  # a change is written later than it was, and may fail there


def changed_in(tree: ModuleTree, body: cst.CSTNode) -> set[str]:
    """Return the variables whose objects a loop changes a part of, as ``row["name"] = …`` does."""
    found = set()
    for each in tree.walk(body):
        changed: Any = None
        if isinstance(each, cst.AssignTarget | cst.AugAssign | cst.AnnAssign | cst.Del):
            changed = each.target
        elif m.matches(
            each, m.Call(m.Attribute(attr=m.Name(m.MatchIfTrue(_CHANGES.__contains__))))
        ):
            changed = each
        while isinstance(changed, cst.Subscript | cst.Attribute | cst.Call):
            changed = changed.func if isinstance(changed, cst.Call) else changed.value
            if isinstance(changed, cst.Name):
                found.add(changed.value)
    return found


def check_not_changed(tree: ModuleTree, body: cst.CSTNode, walked: cst.BaseExpression) -> None:
    """See to it that a loop leaves alone what it walks.

    :raises Refusal: it may not.
    """
    if not isinstance(walked, cst.Name):
        return
    for each in tree.walk(body):
        if (
            isinstance(each, cst.Call)
            and isinstance(each.func, cst.Attribute)
            and each.func.attr.value in _CHANGES
            and isinstance(each.func.value, cst.Name)
            and each.func.value.value == walked.value
        ):
            raise Refusal("the loop changes what it walks")


def _check_change(tree: ModuleTree, target: cst.CSTNode, told_by: frozenset[str] | None) -> None:
    if not _is_of_object(tree, target):
        return
    name = target.attr.value if isinstance(target, cst.Attribute) else ""
    if told_by is None or name in told_by or not is_plain_column(name):
        raise Refusal("the loop changes objects, and may read what it writes")


def _is_of_object(tree: ModuleTree, target: cst.CSTNode) -> bool:
    """Tell whether an attribute is set, or a part of one, as in ``user.settings["a"] = 1``."""
    while isinstance(target, cst.Subscript):
        target = target.value
    if not isinstance(target, cst.Attribute):
        return False
    return not isinstance(target.value, cst.Name) or tree.value(target.value) is not g


def _check_call(tree: ModuleTree, call: cst.Call, besides: frozenset[str]) -> None:
    function = tree.function_of(call)
    if isinstance(call.func, cst.Name):
        _check_function(tree, call.func, function)
        return
    if not isinstance(call.func, cst.Attribute):
        raise Refusal("the loop calls what is not known, and that may write")
    name = call.func.attr.value
    if _is_collection(tree, call.func.value, function):
        return
    if name in _ASKS:
        if not _is_select(tree, call, function):
            raise Refusal(f"the loop calls .{name}() with what may write")
    elif name in WRITES:
        if not (name == "add" and besides and _adds_only(tree, call, function, besides)):
            raise Refusal(f"the loop calls .{name}(), and may read what it writes")
    else:
        value = value_of(tree, call.func, function)
        for code in [value.__code__] if isinstance(value, FunctionType) else tree.methods[name]:
            _check_code(code, vars(tree.module), _DEPTH)


def _check_function(tree: ModuleTree, name: cst.Name, function: cst.CSTNode | None) -> None:
    if tree.is_builtin(name):
        return
    value = value_of(tree, name, function)
    if isinstance(value, type):
        for method in ("__init__", "__post_init__"):
            value_of_method = getattr(value, method, None)
            if isinstance(value_of_method, FunctionType):
                _check_code(value_of_method.__code__, value_of_method.__globals__, _DEPTH)
        return
    inner = getattr(value, "__wrapped__", value)
    if not isinstance(inner, FunctionType):
        if value is not None and not is_application(_file_of(value)):
            return
        raise Refusal(f"the loop calls {name.value}(), which may write")
    _check_code(inner.__code__, inner.__globals__, _DEPTH)
    if isinstance(value, FunctionType) and value is not inner:
        _check_code(value.__code__, value.__globals__, _DEPTH)


def _check_code(code: CodeType, namespace: dict[str, Any], depth: int) -> None:
    """See to it that a function of the application, and those that it calls, write nothing."""
    if not is_application(code.co_filename):
        return
    for inner in within(code):
        words = set(inner.co_names)
        if words & WRITES or depth == 0 or words >= {"execute", "text"}:
            raise Refusal(f"the loop calls {code.co_name}(), which may write")
        for name in words:
            value = namespace.get(name)
            value = getattr(value, "__wrapped__", value)
            if isinstance(value, FunctionType) and value.__code__ is not code:
                _check_code(value.__code__, value.__globals__, depth - 1)


def _is_select(tree: ModuleTree, call: cst.Call, function: cst.CSTNode | None) -> bool:
    """Tell whether what is sent is built by ``select()`` where it can be seen."""
    if not call.args or call.args[0].star:
        return False
    node: cst.BaseExpression | None = call.args[0].value
    for _ in range(_DEPTH):
        while isinstance(node, cst.Call) and isinstance(node.func, cst.Attribute):
            if node.func.attr.value == "select":
                return True
            node = node.func.value
        if isinstance(node, cst.Call):
            return isinstance(node.func, cst.Name) and node.func.value == "select"
        node = given_once(tree, node.value, function) if isinstance(node, cst.Name) else None
    return False


def _is_collection(
    tree: ModuleTree, owner: cst.BaseExpression, function: cst.CSTNode | None
) -> bool:
    """Tell whether a method is called on a plain set, list or dictionary of the function's."""
    if not isinstance(owner, cst.Name):
        return isinstance(owner, cst.Subscript)
    given = given_once(tree, owner.value, function)
    if isinstance(given, cst.Call):
        return isinstance(given.func, cst.Name) and given.func.value in _COLLECTIONS
    return isinstance(given, _PLAIN)


def _adds_only(
    tree: ModuleTree, call: cst.Call, function: cst.CSTNode | None, besides: frozenset[str]
) -> bool:
    made = call.args[0].value if len(call.args) == 1 else None
    if not isinstance(made, cst.Call):
        return False
    mapper = getattr(value_of(tree, made.func, function), "__mapper__", None)
    if mapper is None or not is_row_alone(mapper, made):
        return False
    return {str(table) for table in mapper.tables} <= besides


def _file_of(value: Any) -> str:
    module = getattr(value, "__module__", None) or type(value).__module__
    code = getattr(value, "__code__", None)
    return getattr(code, "co_filename", "") or str(module)
