"""Where a function of the application is called: by its name, or through an object or a class."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import getattr_static
from types import CodeType, FunctionType, MethodType
from typing import Any, NamedTuple

import libcst as cst

from flask_perfkit.audit.patches.code.living import functions_of
from flask_perfkit.audit.patches.code.loops import innermost_loop
from flask_perfkit.audit.patches.code.module import ModuleTree
from flask_perfkit.audit.patches.code.names import bindings, given_once, value_of
from flask_perfkit.audit.patches.code.refusal import Refusal

_DECORATORS = {"property", "staticmethod", "classmethod"}


class Use(NamedTuple):
    """An expression that gives what a function returns.

    ``call`` is None where that is a property, ``receiver`` what the function gets as ``self``.
    """

    node: cst.BaseExpression
    call: cst.Call | None
    receiver: cst.BaseExpression | None


def uses_of(
    tree: ModuleTree, helper: cst.FunctionDef, there: ModuleTree, lines: set[int]
) -> Iterator[Use]:
    """Yield the places in a module that use a function of a module, maybe another one.

    :param lines: those that count; all of them where it is empty.
    :raises Refusal: the function is no plain one, or it is not clear whether a place means it.
    """
    outer = tree.function_of(helper)
    if outer is not None:
        yield from _local(tree, helper, outer)
        return
    function = _living(tree, helper)
    name = helper.name.value
    for each in there.walk():
        func = each.func if isinstance(each, cst.Call) else each
        called = func.attr if isinstance(func, cst.Attribute) else func
        if not isinstance(called, cst.Name) or called.value != name:
            continue
        if lines and there.named_line(each) not in lines:
            continue
        above = there.parent(each)
        if not isinstance(each, cst.Call) and isinstance(above, cst.Call) and above.func is each:
            continue
        use = _use(there, each, func, function)
        if use is not None:
            yield use


def _local(tree: ModuleTree, helper: cst.FunctionDef, outer: cst.FunctionDef) -> Iterator[Use]:
    """Yield the calls of a function that is made inside of another one, which alone knows it."""
    name = helper.name.value
    if helper.decorators or bindings(tree, name, outer) != 1:
        raise Refusal(f"{name}() is called through a decorator or an object")
    for each in tree.walk(outer):
        if (
            isinstance(each, cst.Call)
            and isinstance(each.func, cst.Name)
            and each.func.value == name
        ):
            yield Use(each, each, None)


def _living(tree: ModuleTree, helper: cst.FunctionDef) -> FunctionType:
    """Return the function that a definition has made.

    :raises Refusal: it is called through a decorator, or is made anew each time.
    """
    name = helper.name.value
    owner: Any = tree.parent(helper)
    if isinstance(owner, cst.IndentedBlock) and isinstance(tree.parent(owner), cst.ClassDef):
        owner = tree.parent(tree.parent(owner) or owner)
    plain = all(
        isinstance(each.decorator, cst.Name)
        and each.decorator.value in _DECORATORS
        and tree.is_builtin(each.decorator)
        for each in helper.decorators
    )
    lines = {tree.first_line(each) for each in (helper, *helper.decorators)}
    if plain and isinstance(owner, cst.Module):
        for each in functions_of(str(tree.module.__file__), tree.module):
            if each.__name__ == name and each.__code__.co_firstlineno in lines:
                return each
    raise Refusal(f"{name}() is called through a decorator or an object")


def _use(
    tree: ModuleTree, node: cst.CSTNode, func: cst.CSTNode, function: FunctionType
) -> Use | None:
    """Return the use of a function that an expression is; None where it means another one."""
    name, code = function.__name__, function.__code__
    call = node if isinstance(node, cst.Call) else None
    owner = func.value if isinstance(func, cst.Attribute) else None
    if call is not None:
        value = value_of(tree, func, tree.function_of(node))
        if isinstance(value, FunctionType):
            return Use(call, call, None) if value.__code__ is code else None
        if isinstance(value, MethodType) and getattr(value.__func__, "__code__", None) is code:
            return Use(call, call, owner)
    if owner is None or not isinstance(node, cst.BaseExpression) or "." not in code.co_qualname:
        return None
    made = _class_of(tree, owner)
    if made is not None:
        is_it = call is not None and getattr_static(made, name, None) is function
        return Use(node, call, owner) if is_it else None
    loop = innermost_loop(tree, node)
    model = loop.walked.model if loop is not None else None
    if loop is None or model is None or tree.code(owner) != tree.code(loop.node.target):
        raise Refusal(f"it is not clear whose {name} it is")
    return Use(node, call, owner) if _has(model, name, code, called=call is not None) else None


def _class_of(tree: ModuleTree, owner: cst.BaseExpression) -> type | None:
    """Return the class that a variable's object was made of, where that can be seen."""
    function = tree.function_of(owner)
    made = given_once(tree, owner.value, function) if isinstance(owner, cst.Name) else None
    value = value_of(tree, made.func, function) if isinstance(made, cst.Call) else None
    return value if isinstance(value, type) else None


def _has(mapper: Any, name: str, code: CodeType, *, called: bool) -> bool:
    """Tell whether objects of a model, and of all that go on from it, have one method."""
    for each in mapper.self_and_descendants:
        value = getattr_static(each.class_, name, None)
        if isinstance(value, property) is called:
            return False
        function = value.fget if isinstance(value, property) else value
        if getattr(function, "__code__", None) is not code:
            return False
    return True
