"""Which node of a module is the statement that a line sends, or what brings it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Any, NamedTuple

import libcst as cst
from libcst import matchers as m

from flask_perfkit.audit.patches.code.module import ModuleTree
from flask_perfkit.audit.patches.code.refusal import Refusal
from flask_perfkit.cures.loaders import DropOption, LoaderOption, Sent

_BY_KEY = {"get", "get_one", "get_or_404"}
_ENDS_QUERY = {
    *("all", "first", "one", "one_or_none", "paginate", "first_or_404", "one_or_404"),
    *("scalar", "get", "get_or_404"),
}
_STATEMENTS = ("statement", "select", "query", "stmt")
_FEWEST_FOR_KEY = 2
_LITERALS = (cst.BaseNumber, cst.BaseString)


class Takes(Enum):
    """How a node takes options."""

    ITSELF = "itself"  # it is a statement or a query
    AS_ARGUMENT = "as an argument"  # it looks up by key


class Place(NamedTuple):
    """An expression that takes loader options."""

    node: cst.BaseExpression
    takes: Takes = Takes.ITSELF


def place_of(tree: ModuleTree, lineno: int, cure: LoaderOption | DropOption) -> Place:
    """Return what takes an option for the statement that is sent at a line.

    :raises Refusal: it is not clear which expression there is the statement.
    """
    sent = _sending(tree, cure.sent)
    places = [sent] if sent is not None else list(_returned(tree, lineno))
    places = places or list(dict.fromkeys(_around(tree, lineno)))
    near = [each for each in places if tree.first_line(each.node) == lineno] or places
    if len(near) > 1:
        name = cure.entity.__name__
        near = [each for each in near if name in _names_in(tree, each.node)] or near
    if len(near) != 1:
        raise Refusal(f"it is not clear which expression at {tree.shown(lineno)} is the select")
    return near[0]


def parameter_of(tree: ModuleTree, place: Place) -> tuple[str, int, str] | None:
    """Return which parameter of which function a place is, if it is one and nothing else.

    That is the function's name, the parameter's position without ``self``, and its name.
    """
    function = tree.function_of(place.node)
    if function is None or not isinstance(place.node, cst.Name):
        return None
    name = place.node.value
    names = [each.name.value for each in function.params.params]
    rebound = any(
        m.matches(each, m.AssignTarget(m.Name(name)) | m.For(target=m.Name(name)))
        for each in tree.walk(function.body)
    )
    if name not in names or rebound:
        return None
    position = names.index(name) - (names[0] in ("self", "cls"))
    return function.name.value, position, name


def argument_at(tree: ModuleTree, lineno: int, parameter: tuple[str, int, str]) -> Place:
    """Return what a line gives to a parameter.

    :raises Refusal: it does not call the function by its name, or gives nothing by itself.
    """
    function, position, name = parameter
    calls = [each for each in tree.around(lineno, cst.Call) if callee(each) == function]
    near = [each for each in calls if tree.named_line(each) == lineno] or calls
    for call in near if len(near) == 1 else ():
        given = [each for each in call.args if each.keyword is None]
        by_name = [each for each in call.args if each.keyword and each.keyword.value == name]
        if by_name:
            return Place(by_name[0].value)
        if position < len(given) and not any(each.star for each in given):
            return Place(given[position].value)
    raise Refusal(f"it is not clear which expression at {tree.shown(lineno)} is the select")


def callee(node: cst.CSTNode) -> str:
    """Return the last name of what is called, or of a dotted name."""
    if isinstance(node, cst.Call):
        return callee(node.func)
    if isinstance(node, cst.Attribute):
        return node.attr.value
    return node.value if isinstance(node, cst.Name) else ""


def _sending(tree: ModuleTree, sent: Sent) -> Place | None:
    """Return what takes options in the very expression that sent the statement."""
    node = tree.expression_at(sent.span) if sent.span is not None else None
    if node is None or sent.span is None:
        return None
    if isinstance(node, cst.Await):
        node = node.expression
    if sent.span.iterated:
        return Place(_walked(node))
    return _of_call(node) if isinstance(node, cst.Call) else _of_part(node)


def _walked(node: cst.BaseExpression) -> cst.BaseExpression:
    """Return what a loop walks; of a comprehension, Python names the whole."""
    return node.for_in.iter if isinstance(node, cst.BaseComp) else node


def _of_part(node: cst.BaseExpression) -> Place | None:
    """Return the query that a part of is taken: ``query[:10]``."""
    return Place(node.value) if isinstance(node, cst.Subscript) else None


def _of_call(call: cst.Call) -> Place | None:
    """Return what takes options in a call that sends a statement."""
    name = callee(call.func)
    given = [each for each in call.args if each.keyword is None and not each.star]
    by_name = {each.keyword.value: each.value for each in call.args if each.keyword is not None}
    if name in _BY_KEY and len(given) + ("ident" in by_name) >= _FEWEST_FOR_KEY:
        return Place(call, Takes.AS_ARGUMENT)
    if name == "merge":
        return Place(call, Takes.AS_ARGUMENT)
    if name in _BY_KEY and isinstance(call.func, cst.Attribute):
        return Place(call.func.value)
    named = next((by_name[each] for each in _STATEMENTS if each in by_name), None)
    if named is not None:
        return Place(named)
    if given and not isinstance(given[0].value, _LITERALS) and call.args[0] is given[0]:
        return Place(given[0].value)
    if isinstance(call.func, cst.Attribute) and name in _ENDS_QUERY:
        return Place(call.func.value)
    return None


def _returned(tree: ModuleTree, lineno: int) -> Iterator[Place]:
    """Yield what a function returns, where the line is that of its definition.

    As where a decorator pages the query that a view returns. Python names the line of the first
    decorator, which for libcst is outside of the function.
    """
    for function in tree.walk():
        if not isinstance(function, cst.FunctionDef):
            continue
        heads = [tree.first_line(each) for each in (function, *function.decorators)]
        if lineno not in heads:
            continue
        for each in tree.walk(function.body):
            of_it = isinstance(each, cst.Return) and tree.function_of(each) is function
            if of_it and isinstance(each, cst.Return) and each.value is not None:
                yield Place(each.value)


def _around(tree: ModuleTree, lineno: int) -> Iterator[Place]:
    """Yield what looks like it takes options at a line, where Python knows no columns."""
    for call in tree.around(lineno, cst.Call):
        place = _of_call(call)
        if place is not None and _is_statement(tree, place):
            yield place
    loops: Sequence[Any] = [*tree.around(lineno, cst.For), *tree.around(lineno, cst.CompFor)]
    for loop in loops:
        if tree.first_line(loop.iter) == lineno and _is_query(loop.iter):
            yield Place(loop.iter)


def _is_statement(tree: ModuleTree, place: Place) -> bool:
    node = place.node
    if place.takes is Takes.AS_ARGUMENT or _is_query(node):
        return True
    return isinstance(node, cst.Name) or any(
        m.matches(each, m.Call(func=m.Name("select") | m.Attribute(attr=m.Name("select"))))
        for each in tree.walk(node)
    )


def _is_query(node: cst.BaseExpression) -> bool:
    """Tell whether an expression is a legacy query: ``User.query…``, ``session.query(User)…``."""
    while isinstance(node, cst.Attribute | cst.Call):
        if callee(node) == "query":
            return True
        node = node.value if isinstance(node, cst.Attribute) else node.func
    return False


def _names_in(tree: ModuleTree, node: cst.CSTNode) -> set[str]:
    return {each.value for each in tree.walk(node) if isinstance(each, cst.Name)}
