"""Puts loader options into the select of the line that a finding names as its origin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import libcst as cst
from libcst import matchers as m

from flask_perfkit.audit.patches.module import ModuleTree, bracketed, expression
from flask_perfkit.audit.patches.refusal import Refusal
from flask_perfkit.cures.loaders import LoaderOption

_EQUAL = cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace(""))
_TAKES_STATEMENT = {
    *("execute", "scalar", "scalars", "stream", "stream_scalars", "paginate"),
    *("first_or_404", "one_or_404"),
}
_BY_KEY = {"get", "get_one", "get_or_404"}
_ENDS_QUERY = {
    *("all", "first", "one", "one_or_none", "get", "paginate", "get_or_404", "first_or_404"),
    *("one_or_404", "yield_per", "scalar"),
}


def add_options(tree: ModuleTree, lineno: int, options: Sequence[LoaderOption]) -> None:
    """Add options to the statement that is sent at a line.

    :raises Refusal: it cannot be told which expression there is the statement.
    """
    place, kind = _place(tree, lineno, options[0])
    for option in options:
        if option.replaces:
            _take_out(tree, place, option)
    _put(tree, place, kind, _added(tree, lineno, options))


def pass_options(
    tree: ModuleTree, lineno: int, options: Sequence[LoaderOption], view: str | None
) -> None:
    """Let the view pass options to the helper whose select they go into; other callers pass none.

    :param view: the function that calls the helper.
    :raises Refusal: it does not call it by its name, once, in the same module.
    """
    helper = next(tree.around(lineno, cst.FunctionDef), None)
    caller = next(
        (each for each in tree.walk() if m.matches(each, m.FunctionDef(m.Name(view or "")))), None
    )
    if helper is None or caller is None or helper.decorators or tree.function_of(helper):
        raise Refusal(f"the select at line {lineno} serves several callers, and may slow another")
    name = helper.name.value
    calls = [each for each in tree.walk(caller) if m.matches(each, m.Call(func=m.Name(name)))]
    words = {each.value for each in tree.walk(helper) if isinstance(each, cst.Name)}
    names = [
        each for each in tree.walk() if m.matches(each, m.Name(name)) and each is not helper.name
    ]
    if len(calls) != 1 or "options" in words or any(option.replaces for option in options):
        raise Refusal(f"{name}, with the select, serves {len(names)} callers, and may slow another")
    place, kind = _place(tree, lineno, options[0])
    if kind == "key":
        raise Refusal(f"{name} looks up by key for {len(names)} callers, and may slow another")
    added = _added(tree, lineno, options)
    _put(tree, place, kind, [cst.Arg(cst.Name("options"), star="*")])
    tree.replace(helper, _with_parameter)
    listed = cst.List([cst.Element(each.value) for each in added])
    tree.replace(
        calls[0], lambda call: call.with_changes(args=_plain([*call.args, _named(listed)]))
    )


def _with_parameter(helper: cst.FunctionDef) -> cst.FunctionDef:
    """Return a function with one more parameter, by name only: ``options=()``."""
    parameters = helper.params
    new = cst.Param(cst.Name("options"), default=cst.Tuple([]), equal=_EQUAL)
    star = parameters.star_arg
    return helper.with_changes(
        params=parameters.with_changes(
            star_arg=star if isinstance(star, cst.Param | cst.ParamStar) else cst.ParamStar(),
            kwonly_params=[*parameters.kwonly_params, new],
        )
    )


def _added(tree: ModuleTree, lineno: int, options: Sequence[LoaderOption]) -> list[cst.Arg]:
    codes = []
    for option in options:
        alias = _alias(tree, lineno, option) if option.is_of_alias else None
        codes.append(option.code_from(alias))
        tree.need(option.imports)
    return [cst.Arg(each.value) for each in _arguments(f"f({', '.join(dict.fromkeys(codes))})")]


def _put(tree: ModuleTree, place: Any, kind: str, added: list[cst.Arg]) -> None:
    if kind == "key":
        listed = cst.List([cst.Element(each.value) for each in added])
        tree.replace(
            place, lambda call: call.with_changes(args=_plain([*call.args, _named(listed)]))
        )
    elif kind == "query":
        tree.replace(place, lambda query: _call(query, added))
    else:
        tree.replace(
            place, lambda argument: argument.with_changes(value=_call(argument.value, added))
        )


def _named(value: cst.BaseExpression) -> cst.Arg:
    return cst.Arg(value, keyword=cst.Name("options"), equal=_EQUAL)


def _arguments(code: str) -> Sequence[cst.Arg]:
    call = expression(code)
    assert isinstance(call, cst.Call)
    return call.args


def _call(statement: Any, added: list[cst.Arg]) -> cst.Call:
    return cst.Call(cst.Attribute(bracketed(statement), cst.Name("options")), _spaced(added))


def _plain(arguments: Sequence[cst.Arg]) -> list[cst.Arg]:
    return _spaced([each.with_changes(comma=cst.MaybeSentinel.DEFAULT) for each in arguments])


def _spaced(arguments: list[cst.Arg]) -> list[cst.Arg]:
    comma = cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
    return [each.with_changes(comma=comma) for each in arguments[:-1]] + arguments[-1:]


def _place(tree: ModuleTree, lineno: int, option: LoaderOption) -> tuple[Any, str]:
    """Return the node that takes the options, and how: an argument, a query, a get by key."""
    places = list(_places(tree, lineno))
    nearest = [place for place in places if tree.first_line(place[0]) == lineno] or places
    if len(nearest) > 1:
        names = _names_of(option)
        speaking = [place for place in nearest if names & _names_in(tree, place[0])]
        nearest = speaking or nearest
    if len(nearest) != 1:
        raise Refusal(f"it cannot be told which expression at line {lineno} is the select")
    return nearest[0]


def _names_of(option: LoaderOption) -> set[str]:
    return {option.entity.__name__}


def _names_in(tree: ModuleTree, node: cst.CSTNode) -> set[str]:
    return {each.value for each in tree.walk(node) if isinstance(each, cst.Name)}


def _places(tree: ModuleTree, lineno: int) -> Iterator[tuple[Any, str]]:
    seen: set[cst.CSTNode] = set()
    for call in tree.around(lineno, cst.Call):
        if not isinstance(call.func, cst.Attribute):
            continue
        name, owner = call.func.attr.value, call.func.value
        query = _query(owner)
        if query is not None and name in _ENDS_QUERY:
            if query not in seen:
                yield query, "query"
            seen.add(query)
        elif name in _TAKES_STATEMENT and call.args and not call.args[0].star:
            if call.args[0].keyword is None:
                yield call.args[0], "statement"
        elif name in _BY_KEY and len(call.args) >= 2 and not _has_options(call):
            yield call, "key"
    loops: list[cst.For | cst.CompFor] = [*tree.around(lineno, cst.For)]
    loops += tree.around(lineno, cst.CompFor)
    for loop in loops:
        query = _query(loop.iter)
        if query is not None and query not in seen and tree.first_line(loop.iter) == lineno:
            yield query, "query"
            seen.add(query)


def _has_options(call: cst.Call) -> bool:
    return any(each.keyword is not None and each.keyword.value == "options" for each in call.args)


def _query(node: cst.BaseExpression) -> cst.BaseExpression | None:
    """Return the beginning of a legacy query, ``User.query`` or ``session.query(User)``."""
    while True:
        if isinstance(node, cst.Attribute):
            if node.attr.value == "query":
                return node
            node = node.value
        elif isinstance(node, cst.Call) and isinstance(node.func, cst.Attribute):
            if node.func.attr.value == "query":
                return node
            node = node.func.value
        else:
            return None


def _alias(tree: ModuleTree, lineno: int, option: LoaderOption) -> str:
    """Return the name of the one alias of the entity in the function of a line.

    :raises Refusal: there is none, or there are several.
    """
    function = next(tree.around(lineno, cst.FunctionDef), None)
    names = {
        each.targets[0].target.value
        for each in tree.walk(function)
        if isinstance(each, cst.Assign)
        and isinstance(each.targets[0].target, cst.Name)
        and isinstance(each.value, cst.Call)
        and getattr(each.value.func, "attr", each.value.func) is not None
        and _last_name(each.value.func) == "aliased"
        and each.value.args
        and _last_name(each.value.args[0].value) == option.entity.__name__
    }
    if len(names) != 1:
        raise Refusal(f"it cannot be told which alias the select at line {lineno} reads")
    return names.pop()


def _last_name(node: cst.CSTNode) -> str:
    if isinstance(node, cst.Attribute):
        return node.attr.value
    return node.value if isinstance(node, cst.Name) else ""


def _take_out(tree: ModuleTree, place: Any, option: LoaderOption) -> None:
    """Take the option out that contradicts another.

    :raises Refusal: it does not stand in the same expression, or has more to say.
    """
    target = option.target_code
    for each in tree.walk(place):
        if not (isinstance(each, cst.Call) and _last_name(each.func) == "options"):
            continue
        kept = [one for one in each.args if not _is_plain_option(tree, one, target)]
        if len(kept) == len(each.args) - 1:
            tree.replace(each, partial(_keep, kept))
            return
    raise Refusal(f"an option elsewhere loads {target} in another way: it has to go first")


def _keep(kept: list[cst.Arg], call: cst.Call) -> cst.BaseExpression:
    """Return a call of ``options`` with fewer of them, or what it is called on."""
    if kept:
        return call.with_changes(args=_plain(kept))
    assert isinstance(call.func, cst.Attribute)
    return call.func.value


def _is_plain_option(tree: ModuleTree, argument: cst.Arg, target: str) -> bool:
    value = argument.value
    return (
        isinstance(value, cst.Call)
        and isinstance(value.func, cst.Name)
        and len(value.args) == 1
        and tree.code(value.args[0].value) == target
    )
