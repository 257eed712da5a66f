"""One select before a loop, and a dictionary, in the place of one select for each turn of it."""

from __future__ import annotations

from dataclasses import replace

import libcst as cst
from libcst import matchers as m

from flask_perfkit.audit.patches.code.loops import Loop, innermost_loop, loop_around
from flask_perfkit.audit.patches.code.module import ModuleTree, bracketed
from flask_perfkit.audit.patches.code.names import names_in
from flask_perfkit.audit.patches.code.refusal import Refusal
from flask_perfkit.audit.patches.code.steps import written_out
from flask_perfkit.audit.patches.reads.answers import Answer
from flask_perfkit.audit.patches.reads.asked import Asked
from flask_perfkit.audit.patches.reads.asking import asked_at
from flask_perfkit.audit.patches.reads.batches import answer_of
from flask_perfkit.audit.patches.reads.children import of_children
from flask_perfkit.audit.patches.reads.creations import Creation, creation_in
from flask_perfkit.audit.patches.reads.gets import (
    Got,
    asked_by,
    gots_at,
    keep_in_session,
    keep_where_called,
)
from flask_perfkit.audit.patches.reads.helpers import Place, places_of
from flask_perfkit.audit.patches.reads.keys import Keyed, keyed
from flask_perfkit.recording.findings import Finding

_TAKES_ALL = (cst.Arg, cst.Assign, cst.If, cst.Return)


def prefetch(
    tree: ModuleTree, lineno: int, finding: Finding, there: ModuleTree | None = None
) -> None:
    """Ask before the loop for all keys, and look each up in its turn.

    :param there: the module with the loop, where that is another one than asks.
    :raises Refusal: the statement or the loop is not of the plain kind for which that is sure.
    """
    there = there or tree
    gots = gots_at(tree, lineno)
    if len(gots) == 1:
        _by_key(tree, gots[0], finding, there)
        return
    try:
        asked = asked_at(tree, lineno, finding.subject)
    except Refusal as refusal:
        if "." in finding.subject:
            raise Refusal("no loader option can be put on the select") from refusal
        raise
    for place in places_of(tree, asked, finding, there):
        prefetch_at(there, place)


def _by_key(tree: ModuleTree, got: Got, finding: Finding, there: ModuleTree) -> None:
    asked = asked_by(tree, got)
    try:
        if asked is not None:
            for place in places_of(tree, asked, finding, there):
                prefetch_at(there, place)
            return
    except Refusal:
        pass
    if tree is there and innermost_loop(tree, got.call) is not None:
        keep_in_session(tree, got)
    else:
        keep_where_called(tree, got, finding, there)


def prefetch_at(tree: ModuleTree, place: Place) -> None:
    """Ask before the loop for what one place in it gets in each turn.

    :raises Refusal: it is not sure to be the same.
    """
    loop = loop_around(tree, place.node)
    asked = _in_turn(tree, place, loop)
    if names_in(cst.parse_expression(asked.session or asked.query or "")) & loop.names:
        raise Refusal("each iteration has a session of its own")
    split = keyed(tree, asked, loop)
    loop.check_keys(place.node, [key.value for key in split.keys])
    creation = creation_in(tree, place, asked, split, loop)
    if creation is not None and creation.variable is None:
        asked = replace(asked, node=creation.tested, use="exists")
        place = replace(place, node=creation.tested, asked=asked)
    answer = answer_of(tree, asked, split, loop.new_name)
    gone = [place.node] if creation is None else [place.node, *creation.writes]
    loop.check_reads(gone, answer.leaves_alone, answer.told_by, session=asked.session)
    if "with_for_update" in asked.names and loop.is_left_early():
        raise Refusal("rows would be locked that the loop never comes to")
    _put(tree, place, loop, asked, split, answer, creation)


def _in_turn(tree: ModuleTree, place: Place, loop: Loop) -> Asked:
    """Return what is asked for, with what the loop's own variables were given."""
    asked = of_children(tree, place.asked, loop)
    if not isinstance(loop.node, cst.For):
        return asked
    steps = []
    for step in asked.steps:
        args = []
        for each in step.args:
            value, _ = written_out(tree, each.value, place.node, loop.body)
            args.append(each.with_changes(value=value))
        steps.append(step._replace(args=args))
    return replace(asked, steps=steps)


def _put(
    tree: ModuleTree,
    place: Place,
    loop: Loop,
    asked: Asked,
    split: Keyed,
    answer: Answer,
    creation: Creation | None,
) -> None:
    if answer.imports:
        tree.need(answer.imports)
    name = loop.new_name(answer.name)
    keys = loop.all_of(split.value(tree))
    loop.insert_before(answer.fetching(name, keys, loop.new_name, awaits=asked.awaits))
    key = split.value(tree)
    if answer.fails_without:
        expression = place.around(tree, cst.parse_expression(f"{name}[{key}]"))
        expression = _or_as_before(tree, place, expression, f"{key} in {name}")
    elif creation is not None and creation.variable is None:
        expression = cst.parse_expression(creation.test(name, key))
    else:
        found = answer.found(name, key)
        found = _listed(tree, place, found) if answer.is_list else found
        expression = place.around(tree, cst.parse_expression(found))
    if split.may_be_none and not answer.fails_without:
        expression = _or_as_before(tree, place, expression, f"{key} is not None")
    if creation is not None:
        kept = cst.parse_statement(creation.kept(name, key))
        tree.replace(creation.line, lambda node: cst.FlattenSentinel([node, kept]))
    is_choice = isinstance(expression, cst.IfExp) and isinstance(tree.parent(place.node), cst.If)
    if is_choice or not isinstance(tree.parent(place.node), _TAKES_ALL):
        expression = bracketed(expression)
    tree.replace(place.node, lambda _: expression)
    for line in place.gone:
        tree.replace(line, lambda _: cst.RemoveFromParent())


def _or_as_before(
    tree: ModuleTree, place: Place, found: cst.BaseExpression, where: str
) -> cst.BaseExpression:
    """Return what was found, or ask as before where the rows of all keys do not say it."""
    asking = place.node
    if place.gone:
        asking, _ = written_out(tree, asking, asking, tree.block_of(asking))
    return cst.parse_expression(f"{tree.code(found)} if {where} else {tree.code(asking)}")


def _listed(tree: ModuleTree, place: Place, found: str) -> str:
    """Return rows as they were: a list of each turn's own, where somebody may change it."""
    above = tree.parent(place.node)
    walks = isinstance(above, cst.For | cst.CompFor) and above.iter is place.node
    counts = isinstance(above, cst.Arg) and m.matches(
        tree.parent(above) or above, m.Call(m.Name("len"))
    )
    return found if place.is_bare and (walks or counts) else f"list({found})"
