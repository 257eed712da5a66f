"""Puts loader options into a statement, where the code sends it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import libcst as cst
from libcst import matchers as m

from flask_perfkit.audit.patches.code.module import ModuleTree, bracketed, expression
from flask_perfkit.audit.patches.code.places import Place, Takes, callee
from flask_perfkit.audit.patches.code.refusal import Refusal
from flask_perfkit.cures.loaders import LoaderOption

_EQUAL = cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace(""))


def add_options(tree: ModuleTree, place: Place, options: Sequence[LoaderOption]) -> None:
    """Let a place have options, in the place of those that contradict them.

    :raises Refusal: it is not clear what is to be changed.
    """
    for option in options:
        if option.replaces:
            take_out(tree, place, option.target_code)
    added = arguments(tree, place.node, options)
    if added:
        put(tree, place, added)


def arguments(
    tree: ModuleTree, node: cst.BaseExpression, options: Sequence[LoaderOption]
) -> list[cst.Arg]:
    """Return options as the arguments of a call, and have imported what they name.

    :param node: what they are for; those that it has by another rewrite are left out.
    """
    codes = []
    for option in options:
        code = option.code_from(_alias(tree, node, option) if option.is_of_alias else None)
        if tree.note(node, code):
            codes.append(code)
        tree.need(option.imports)
    call = cst.ensure_type(expression(f"f({', '.join(codes)})"), cst.Call)
    return [cst.Arg(each.value) for each in call.args]


def put(tree: ModuleTree, place: Place, added: Sequence[cst.Arg]) -> None:
    """Let a place have options, beside those that it has.

    :raises Refusal: it has some that are not listed there.
    """
    if place.takes is Takes.AS_ARGUMENT:
        _check_listed(cst.ensure_type(place.node, cst.Call))
        tree.replace(place.node, partial(_with_argument, added))
    else:
        tree.replace(place.node, partial(_with_call, added))


def named(value: cst.BaseExpression) -> cst.Arg:
    """Return the argument ``options=…``."""
    return cst.Arg(value, keyword=cst.Name("options"), equal=_EQUAL)


def spaced(arguments: Sequence[cst.Arg]) -> list[cst.Arg]:
    """Return arguments with a comma and a blank between them."""
    comma = cst.Comma(whitespace_after=cst.SimpleWhitespace(" "))
    plain = [each.with_changes(comma=cst.MaybeSentinel.DEFAULT) for each in arguments]
    return [each.with_changes(comma=comma) for each in plain[:-1]] + plain[-1:]


def _with_call(added: Sequence[cst.Arg], statement: cst.BaseExpression) -> cst.BaseExpression:
    if isinstance(statement, cst.Call) and callee(statement) == "options":
        return statement.with_changes(args=spaced([*statement.args, *added]))
    return cst.Call(cst.Attribute(bracketed(statement), cst.Name("options")), spaced(added))


def _with_argument(added: Sequence[cst.Arg], call: cst.Call) -> cst.BaseExpression:
    new: list[cst.BaseElement] = [cst.Element(each.value) for each in added]
    kept = []
    for each in call.args:
        if each.keyword is not None and each.keyword.value == "options":
            assert isinstance(each.value, cst.List | cst.Tuple)
            new = [*each.value.elements, *new]
        else:
            kept.append(each)
    return call.with_changes(args=spaced([*kept, named(cst.List(new))]))


def _check_listed(call: cst.Call) -> None:
    for each in call.args:
        if each.star == "**" or (
            each.keyword is not None
            and each.keyword.value == "options"
            and not isinstance(each.value, cst.List | cst.Tuple)
        ):
            raise Refusal("the look-up has options that are made elsewhere")


def _alias(tree: ModuleTree, node: cst.BaseExpression, option: LoaderOption) -> str:
    """Return the name of the alias that a path begins at.

    :raises Refusal: there is none in the function, or there are several that it may be.
    """
    function = tree.function_of(node)
    aliases = {
        each.targets[0].target.value
        for each in tree.walk(function)
        if isinstance(each, cst.Assign)
        and isinstance(each.targets[0].target, cst.Name)
        and callee(each.value) in ("aliased", "with_polymorphic")
    }
    selected = list(_selected(tree, node, function))
    if option.position < len(selected) and selected[option.position] in aliases:
        return selected[option.position]
    if len(aliases) != 1:
        raise Refusal("it is not clear which alias the select reads")
    return aliases.pop()


def _selected(
    tree: ModuleTree, statement: cst.CSTNode, function: cst.CSTNode | None
) -> Iterator[str]:
    """Yield the names that a statement selects, if one select or query is seen that begins it."""
    root = statement
    if isinstance(statement, cst.Name):
        root = next(
            (
                each.value
                for each in tree.walk(function)
                if m.matches(each, m.Assign([m.AssignTarget(m.Name(statement.value))]))
                and isinstance(each, cst.Assign)
            ),
            statement,
        )
    for each in tree.walk(root):
        if isinstance(each, cst.Call) and callee(each) in ("select", "query"):
            yield from (callee(argument.value) for argument in each.args)
            return


def take_out(tree: ModuleTree, place: Place, target: str) -> None:
    """Take out the option of a place that loads a relationship or a column.

    :param target: that, as code: ``User.documents``.
    :raises Refusal: it does not stand in the same function, or has more to say.
    """
    for root in (place.node, tree.function_of(place.node)):
        for each in tree.walk(root) if root is not None else ():
            if not (isinstance(each, cst.Call) and callee(each) == "options"):
                continue
            kept = [one for one in each.args if not _is_plain_option(tree, one, target)]
            if len(kept) == len(each.args) - 1:
                tree.replace(each, partial(_keep, kept))
                return
    raise Refusal(f"the option that loads {target} stands elsewhere, or has more to say")


def _keep(kept: list[cst.Arg], call: cst.Call) -> cst.BaseExpression:
    """Return a call of ``options`` with fewer of them, or what it is called on."""
    if kept:
        return call.with_changes(args=spaced(kept))
    return cst.ensure_type(call.func, cst.Attribute).value


def _is_plain_option(tree: ModuleTree, argument: cst.Arg, target: str) -> bool:
    value = argument.value
    return (
        m.matches(value, m.Call(func=m.Name() | m.Attribute(value=m.Name())))
        and isinstance(value, cst.Call)
        and len(value.args) == 1
        and tree.code(value.args[0].value) == target
    )
