"""Leaves out of a select what nobody has read: a relationship loaded along, or wide columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import libcst as cst

from flask_perfkit.audit.patches.code.callers import is_shared
from flask_perfkit.audit.patches.code.module import Mend, ModuleTree
from flask_perfkit.audit.patches.code.places import place_of
from flask_perfkit.audit.patches.code.refusal import Refusal
from flask_perfkit.audit.patches.code.source import Source, source_of
from flask_perfkit.audit.patches.loads.options import add_options, take_out
from flask_perfkit.cures.loaders import DropOption, LoaderOption
from flask_perfkit.recording.findings import Finding

if TYPE_CHECKING:
    from flask import Flask

_NOBODY = (None, None)


def leaving_out(app: Flask, finding: Finding) -> tuple[Source, Mend]:
    """Return the source of a select, and what lets it bring less.

    :raises Refusal: no option does that, or others have the same select.
    """
    filename, lineno, cure = finding.filename, finding.lineno, finding.cure
    if filename is None or lineno is None or not cure:
        raise Refusal("no option can be put on the select")
    source = source_of(filename, lineno)
    if is_shared(app, source, lineno, _NOBODY, set()):
        raise Refusal(f"the select at line {lineno} may serve others, who read it")
    return source, lambda tree: _leave_out(tree, lineno, cure)


def _leave_out(
    tree: ModuleTree, lineno: int, cure: DropOption | LoaderOption | tuple[LoaderOption, ...]
) -> None:
    if isinstance(cure, DropOption):
        _check_not_read(tree, cure.step.key)
        take_out(tree, place_of(tree, lineno, cure), cure.target_code)
        return
    options = [cure] if isinstance(cure, LoaderOption) else list(cure)
    for option in options:
        _check_not_read(tree, option.column.name if option.column else option.steps[-1].key)
    add_options(tree, place_of(tree, lineno, options[0]), options)


def _check_not_read(tree: ModuleTree, name: str) -> None:
    """See to it that the module does not read an attribute, though this request did not.

    :raises Refusal: it does.
    """
    for each in tree.walk():
        if not isinstance(each, cst.Attribute) or each.attr.value != name:
            continue
        if not isinstance(tree.value(each.value), type):
            raise Refusal(f"{tree.code(each)} is read in the same module")
