"""Loops that write row by row, made to write once."""

from __future__ import annotations

import libcst as cst
from libcst import matchers as m

from flask_perfkit.audit.patches.code.loops import innermost_loop, plain_loop
from flask_perfkit.audit.patches.code.module import ModuleTree
from flask_perfkit.audit.patches.code.refusal import Refusal
from flask_perfkit.audit.patches.code.steps import call_of
from flask_perfkit.audit.patches.writes.bulk import execute_once, take_place
from flask_perfkit.audit.patches.writes.changes import queried
from flask_perfkit.audit.patches.writes.inserts import insert_at_once
from flask_perfkit.audit.patches.writes.savers import save_behind
from flask_perfkit.audit.patches.writes.units import check_caught, move_behind, turn_inside_out
from flask_perfkit.recording.findings import Finding

_FLUSHES = m.Call(func=m.Attribute(attr=m.Name("flush") | m.Name("commit")), args=[])
_COMMITS = m.With() | m.Attribute(attr=m.Name("commit"))
_EXECUTES = m.Call(func=m.Attribute(attr=m.Name("execute")))
_OF_QUERY = m.Attribute(attr=m.Name("query"))
_QUERIES = m.Call(func=m.Attribute(attr=m.Name("update") | m.Name("delete")))


def write_at_once(tree: ModuleTree, lineno: int, finding: Finding) -> None:
    """Let the loop around a line write once.

    :raises Refusal: it is not of the plain kind for which that is sure.
    """
    line = _line(tree, lineno)
    if innermost_loop(tree, line) is None:
        save_behind(tree, line, finding)
        return
    loop = plain_loop(tree, line)
    check_caught(tree, loop, commits=bool(m.findall(loop.node, _COMMITS)))
    if insert_at_once(tree, loop):
        return
    if isinstance(line, cst.With):
        turn_inside_out(tree, loop, line)
        return
    within = tree.parent(line)
    unit = tree.parent(within) if within is not None else None
    call = call_of(line)
    if call is not None and m.matches(call, _FLUSHES):
        if isinstance(unit, cst.With):
            turn_inside_out(tree, loop, unit, last=line)
        else:
            move_behind(tree, loop, line)
    elif call is not None and m.matches(call, _EXECUTES):
        execute_once(tree, loop, line, call)
    elif call is not None and m.matches(call, _QUERIES) and m.findall(call.func, _OF_QUERY):
        take_place(loop, queried(tree, loop, line, call), [line])
    else:
        raise Refusal("there is no rewrite that is sure to keep what the code does")


def _line(tree: ModuleTree, lineno: int) -> cst.SimpleStatementLine | cst.With:
    simple = [each for each in tree.around(lineno, cst.SimpleStatementLine) if len(each.body) == 1]
    if simple:
        return simple[0]
    units = [each for each in tree.around(lineno, cst.With) if tree.first_line(each) == lineno]
    if len(units) == 1:
        return units[0]
    raise Refusal(f"it is not clear what writes at line {lineno}")
