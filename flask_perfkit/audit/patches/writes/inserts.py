"""One INSERT for all objects, where each turn of a loop does nothing but to add one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import libcst as cst
from libcst import matchers as m

from flask_perfkit.audit.patches.code.flushing import may_not_flush
from flask_perfkit.audit.patches.code.loops import Loop
from flask_perfkit.audit.patches.code.module import ModuleTree
from flask_perfkit.audit.patches.code.names import names_in, value_of
from flask_perfkit.audit.patches.code.rows import is_inserted_alike, reads_rows_of
from flask_perfkit.audit.patches.code.steps import call_of
from flask_perfkit.audit.patches.writes.bulk import executed, rows_of
from flask_perfkit.audit.patches.writes.units import check_unit

_ADDS = m.Call(m.Attribute(attr=m.Name("add")), [m.Arg(m.Call(), keyword=None)])
_FLUSH = m.Call(m.Attribute(attr=m.Name("flush")), [])
_COMMIT = m.Call(m.Attribute(attr=m.Name("commit")), [])


def insert_at_once(tree: ModuleTree, loop: Loop) -> bool:
    """Send one INSERT for all objects; tell whether the loop is one for which that is sure."""
    unit = loop.body.body[0] if len(loop.body.body) == 1 else None
    unit = unit if isinstance(unit, cst.With) else None
    steps: list[Any] = list(unit.body.body if unit is not None else loop.body.body)
    if not steps or len(steps) > 2 or (len(steps) == 1 and unit is None):
        return False
    call, last = call_of(steps[0]), call_of(steps[1]) if len(steps) == 2 else None
    if call is None or not m.matches(call, _ADDS):
        return False
    if len(steps) == 2 and (last is None or not m.matches(last, _FLUSH | _COMMIT)):
        return False
    session = tree.code(cst.ensure_type(call.func, cst.Attribute).value)
    if unit is None and names_in(cst.parse_expression(session)) & loop.names:
        return False
    awaits = last is not None and isinstance(tree.parent(last), cst.Await)
    commits = last is not None and m.matches(last, _COMMIT)
    behind = [steps[1].with_changes(leading_lines=[])] if commits else []
    new = inserted(tree, loop, session, call.args[0].value, behind, awaits=awaits)
    if new is None:
        return False
    if unit is not None:
        check_unit(tree, loop, unit)
    comments = [each for step in steps for each in step.leading_lines]

    def written(node: cst.For) -> Any:
        if unit is not None:
            body = cst.IndentedBlock([new[0].with_changes(leading_lines=comments), *new[1:]])
            return unit.with_changes(body=body, leading_lines=node.leading_lines)
        first = new[0].with_changes(leading_lines=[*node.leading_lines, *comments])
        return cst.FlattenSentinel([first, *new[1:]])

    loop.replace(written)
    return True


def inserted(
    tree: ModuleTree,
    loop: Loop,
    session: str,
    made: cst.BaseExpression,
    behind: Sequence[cst.BaseStatement],
    *,
    awaits: bool = False,
) -> list[Any] | None:
    """Return the statements that insert what each turn makes; None where it may not be the same.

    :param behind: what follows if there was any turn.
    """
    if not isinstance(made, cst.Call):
        return None
    if may_not_flush(tree, cst.parse_expression(session), loop.function):
        return None  # what waits would be written behind the INSERT, and get other keys
    mapper = getattr(value_of(tree, made.func, loop.function), "__mapper__", None)
    if mapper is None or not is_inserted_alike(mapper, made):
        return None
    if any(reads_rows_of(tree, mapper, each.value) for each in made.args):
        return None
    pairs = [(each.keyword.value, each.value) for each in made.args if each.keyword is not None]
    rows = rows_of(tree, loop, pairs)
    tree.need([("sqlalchemy", "insert")])
    statement = f"insert({tree.code(made.func)})"
    return executed(loop, f"{session}.execute", statement, rows, last=behind, awaits=awaits)
