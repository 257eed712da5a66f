"""Lets one caller of a shared function pass options to the select that stands there."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import libcst as cst

from flask_perfkit.audit.patches.code.module import ModuleTree
from flask_perfkit.audit.patches.code.places import Place, Takes, callee
from flask_perfkit.audit.patches.code.refusal import Refusal
from flask_perfkit.audit.patches.loads.options import arguments, named, put, spaced
from flask_perfkit.cures.loaders import LoaderOption

_EQUAL = cst.AssignEqual(cst.SimpleWhitespace(""), cst.SimpleWhitespace(""))
_PLAIN_DECORATORS = {"staticmethod", "classmethod"}


def pass_options(
    tree: ModuleTree, place: Place, options: Sequence[LoaderOption], caller: int
) -> None:
    """Let a line pass options to the function that has the place; other callers pass none.

    :param caller: the line that calls it.
    :raises Refusal: the function cannot have one more parameter, or is not called by its name.
    """
    helper = tree.function_of(place.node)
    if helper is None:
        raise Refusal("the select serves several callers, and may slow another")
    name = helper.name.value
    words = {each.value for each in tree.walk(helper) if isinstance(each, cst.Name)}
    calls = [
        each
        for each in tree.around(caller, cst.Call)
        if callee(each) == name and not any(argument.star for argument in each.args)
    ]
    if (
        len(calls) != 1
        or "options" in words
        or any(option.replaces for option in options)
        or any(callee(each.decorator) not in _PLAIN_DECORATORS for each in helper.decorators)
        or _is_overridden(tree, helper)
    ):
        raise Refusal(f"{name}, with the select, serves several callers, and may slow another")
    added = arguments(tree, calls[0], options)
    tree.replace(calls[0], partial(_passing, added))
    if not tree.note(helper, "options=()"):
        return
    if place.takes is Takes.AS_ARGUMENT:
        _pass_on(tree, place)
    else:
        put(tree, place, [cst.Arg(cst.Name("options"), star="*")])
    tree.replace(helper, _with_parameter)


def _is_overridden(tree: ModuleTree, helper: cst.FunctionDef) -> bool:
    """Tell whether the name may mean a method of another class, which takes no options."""
    is_method = any(isinstance(each, cst.ClassDef) for each in tree.ancestors(helper))
    return is_method and tree.is_method_of_several(helper.name.value)


def _passing(added: Sequence[cst.Arg], call: cst.Call) -> cst.Call:
    listed = cst.List([cst.Element(each.value) for each in added])
    return call.with_changes(args=spaced([*call.args, named(listed)]))


def _pass_on(tree: ModuleTree, place: Place) -> None:
    call = cst.ensure_type(place.node, cst.Call)
    if any(each.star or (each.keyword and each.keyword.value == "options") for each in call.args):
        raise Refusal("the look-up has options already")
    tree.replace(
        call,
        lambda call: call.with_changes(args=spaced([*call.args, named(cst.Name("options"))])),
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
