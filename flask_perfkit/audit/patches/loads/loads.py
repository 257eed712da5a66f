"""How a load for each row is mended: in the select of the rows, or before the loop over them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING

import libcst as cst

from flask_perfkit.audit.patches.code.callers import Line, is_shared
from flask_perfkit.audit.patches.code.module import Mend, ModuleTree
from flask_perfkit.audit.patches.code.names import mapper_in
from flask_perfkit.audit.patches.code.places import Place, argument_at, parameter_of, place_of
from flask_perfkit.audit.patches.code.refusal import Inapplicable, Refusal
from flask_perfkit.audit.patches.code.source import Source, source_of
from flask_perfkit.audit.patches.loads.counted import work_out
from flask_perfkit.audit.patches.loads.options import add_options
from flask_perfkit.audit.patches.loads.passing import pass_options
from flask_perfkit.audit.patches.loads.preload import load_before
from flask_perfkit.cures.loaders import LoaderOption, combined
from flask_perfkit.recording.findings import Finding
from flask_perfkit.recording.wording import line

if TYPE_CHECKING:
    from flask import Flask

Way = Callable[[], tuple[Source, Mend]]


def ways_to_load(app: Flask, findings: Sequence[Finding]) -> Iterator[Way]:
    """Yield the ways to mend loads of one origin, the best one first; what they flush goes too."""
    findings = [each for each in findings if each.kind != "n_plus_one_write"]
    _check_not_added(findings)
    options = combined([each.cure for each in findings if isinstance(each.cure, LoaderOption)])
    yield partial(_worked_out, findings)
    if options:
        yield partial(_at_origin, app, findings, options)
    yield partial(_before_loop, findings)


def _check_not_added(findings: Sequence[Finding]) -> None:
    """See to it that no loop adds rows by their key to a collection that it loads.

    :raises Refusal: one does, and a load in its turn brings them.
    """
    for each in findings:
        option, lineno = each.cure, each.lineno
        if not isinstance(option, LoaderOption) or not option.steps or lineno is None:
            continue
        step = option.steps[-1]
        relationship = step.relationship
        if not relationship.uselist or not (each.filename or "").endswith(".py"):
            continue
        source = source_of(str(each.filename), lineno)
        tree = ModuleTree(source.text, source.module)
        tables, keys = set(relationship.mapper.tables), relationship.remote_side
        for loop in tree.around(lineno, cst.For):
            for call in (call for call in tree.walk(loop.body) if isinstance(call, cst.Call)):
                made = mapper_in(tree, call.func, tree.function_of(call))
                if made is None or not tables & set(made.tables):
                    continue
                names = {
                    made.get_property_by_column(key).key for key in keys if key.table in made.tables
                }
                if names & {given.keyword.value for given in call.args if given.keyword}:
                    raise Refusal(
                        f"the loop adds to {step.key} what a load in that iteration reads"
                    )


def _at_origin(
    app: Flask, findings: Sequence[Finding], options: Sequence[LoaderOption]
) -> tuple[Source, Mend]:
    """Put options into the statement that loaded the rows.

    Where it is the argument of a function, that is what the caller gives; where the function serves
    others too, the caller passes the options.
    """
    if findings[0].origin is None:
        raise Refusal("no line of the application is known to have sent it")
    filename, lineno = findings[0].origin
    option = options[0]
    source = source_of(filename, lineno)
    tree = ModuleTree(source.text, source.module)
    place = place_of(tree, lineno, option)
    parameter = parameter_of(tree, place)
    needing = _needing(tree, place, findings[0], option)
    if parameter is not None:
        filename, lineno = _one_caller(option, filename, lineno)
        source = source_of(filename, lineno)
        if is_shared(app, source, lineno, *needing):
            raise Refusal(_serves_others(filename, lineno))
        return source, lambda tree: add_options(tree, argument_at(tree, lineno, parameter), options)
    if not is_shared(app, source, tree.first_line(place.node), *needing):
        return source, lambda tree: add_options(tree, place_of(tree, lineno, option), options)
    calling, caller = _one_caller(option, filename, lineno)
    if calling != filename or is_shared(app, source, caller, *needing):
        raise Refusal(_serves_others(filename, lineno))
    return source, lambda tree: pass_options(tree, place_of(tree, lineno, option), options, caller)


def _serves_others(filename: str, lineno: int) -> str:
    return f"the select at {line(filename, lineno)} serves several callers, and may slow another"


def _needing(
    tree: ModuleTree, place: Place, finding: Finding, option: LoaderOption
) -> tuple[Line, set[Line]]:
    """Return the line where the objects are used, and those that call what is there.

    A select that does not name its class may bring other objects for others, and a method that
    several classes have may do without them.
    """
    touching = (finding.filename, finding.lineno)
    function = tree.function_of(place.node)
    if not any(_means(tree, each, option.entity) for each in tree.walk(function)):
        return (None, None), set()
    if tree.is_method_of_several((finding.function or "").rpartition(".")[2]):
        return touching, set()
    return touching, {(filename, lineno) for filename, lineno, _ in finding.callers}


def _means(tree: ModuleTree, node: cst.CSTNode, entity: type) -> bool:
    """Tell whether a name is that of a class, in this module or through another one."""
    if isinstance(node, cst.Attribute):
        owner = tree.value(node.value) if isinstance(node.value, cst.Name) else None
        return isinstance(owner, ModuleType) and vars(owner).get(node.attr.value) is entity
    return isinstance(node, cst.Name) and tree.value(node) is entity


def _one_caller(option: LoaderOption, filename: str, lineno: int) -> tuple[str, int]:
    """Return the line that had the statement sent which a line sends.

    :raises Refusal: there are several, or none is known.
    """
    callers = option.sent.callers
    if len(callers) != 1:
        raise Refusal(_serves_others(filename, lineno))
    return callers[0][:2]


def _before_loop(findings: Sequence[Finding]) -> tuple[Source, Mend]:
    """Load before the loop over the objects what they lack."""
    filename, lineno = findings[0].filename, findings[0].lineno
    if filename is None or lineno is None or any(each.filename != filename for each in findings):
        raise Refusal("no line of the application is known to have sent it")
    return source_of(filename, lineno), lambda tree: load_before(tree, findings)


def _worked_out(findings: Sequence[Finding]) -> tuple[Source, Mend]:
    """Let the database work out what is made of a collection, where that is one number."""
    filename, lineno = findings[0].filename, findings[0].lineno
    if filename is None or lineno is None:
        raise Inapplicable("no line of the application is known to have sent it")

    def mend(tree: ModuleTree) -> None:
        try:
            work_out(tree, findings)
        except Refusal as refusal:
            raise Inapplicable(str(refusal)) from refusal

    return source_of(filename, lineno), mend
