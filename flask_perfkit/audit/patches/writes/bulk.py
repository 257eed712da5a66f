"""One statement with all rows, in the place of a loop that sends one for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import libcst as cst

from flask_perfkit.audit.patches.code.loops import Loop
from flask_perfkit.audit.patches.code.module import ModuleTree
from flask_perfkit.audit.patches.code.names import given_once, mapper_in, names_in
from flask_perfkit.audit.patches.code.plain import check_plain
from flask_perfkit.audit.patches.code.refusal import Refusal
from flask_perfkit.audit.patches.code.rows import may_be_defaulted
from flask_perfkit.audit.patches.code.steps import Step, chain_of, written_out
from flask_perfkit.audit.patches.writes.changes import changed

_KINDS = ("insert", "update", "delete")
_OF_INSERTS = {
    *("values", "on_conflict_do_update", "on_conflict_do_nothing", "on_duplicate_key_update"),
    *("prefix_with", "execution_options", "returning"),
}
_SHORT = 90


def execute_once(
    tree: ModuleTree, loop: Loop, line: cst.SimpleStatementLine, call: cst.Call
) -> None:
    """Send one statement in the place of the whole loop, which does nothing else.

    :raises Refusal: the loop does more, or other rows would be written.
    """
    assert isinstance(call.func, cst.Attribute)
    if names_in(call.func) & loop.names:
        raise Refusal("each iteration has a session of its own")
    places = [each for each in call.args if each.keyword is None]
    options = [each for each in call.args if each.keyword is not None]
    if not places or len(places) > 2 or any(each.star for each in call.args):
        raise Refusal("it is not clear which statement is sent")
    if any(names_in(each.value) & loop.names for each in options):
        raise Refusal("the options differ between iterations")
    statement, lines = written_out(tree, places[0].value, line, loop.body)
    if [*reversed(lines), line] != list(loop.body.body):
        raise Refusal("each iteration does more than send the statement")
    rest = "".join(f", {tree.code(each).strip().rstrip(',')}" for each in options)
    awaits = isinstance(tree.parent(call), cst.Await)
    sender = tree.code(call.func)
    if len(places) == 2:
        if not isinstance(places[1].value, cst.Dict) or names_in(statement) & loop.names:
            raise Refusal("the values are no plain dictionary")
        check_plain(tree, loop, places[1].value)
        rows = loop.all_of(tree.code(places[1].value), is_last=True)
        new = executed(loop, sender, tree.code(statement), rows, rest, awaits=awaits)
    else:
        new = _of_one(tree, loop, sender, statement, rest, awaits=awaits)
    take_place(loop, new, [*reversed(lines), line])


def executed(
    loop: Loop,
    sender: str,
    statement: str,
    rows: str,
    rest: str = "",
    last: Sequence[cst.BaseStatement] = (),
    *,
    awaits: bool,
) -> list[Any]:
    """Return the statements that send one with all rows, and what follows if there are any.

    With an empty list a row of defaults would be inserted.
    """
    wait = "await " if awaits else ""
    whole = f"{wait}{sender}({statement}, {rows}{rest})"
    if not loop.walked.may_be_empty() and len(whole) < _SHORT:
        return [cst.parse_statement(whole), *last]
    name = loop.new_name("rows")
    sending = cst.parse_statement(f"{wait}{sender}({statement}, {name}{rest})")
    if not loop.walked.may_be_empty():
        return [cst.parse_statement(f"{name} = {rows}"), sending, *last]
    guarded = cst.If(cst.Name(name), cst.IndentedBlock([sending, *last]))
    return [cst.parse_statement(f"{name} = {rows}"), guarded]


def rows_of(tree: ModuleTree, loop: Loop, pairs: Sequence[tuple[str, cst.BaseExpression]]) -> str:
    """Return a list of dictionaries, one for each turn, as code."""
    for _, value in pairs:
        check_plain(tree, loop, value)
    written = ", ".join(f'"{name}": {tree.code(value)}' for name, value in pairs)
    return loop.all_of(f"{{{written}}}", is_last=True)


def _of_one(
    tree: ModuleTree,
    loop: Loop,
    sender: str,
    statement: cst.BaseExpression,
    rest: str,
    *,
    awaits: bool,
) -> list[Any]:
    root, steps = chain_of(statement, lambda each: _kind_of(tree, each) is not None)
    kind = _kind_of(tree, root)
    if kind is None and any(step.name.startswith("on_") for step in steps):
        kind = "insert"
    if isinstance(root, cst.Name):
        given = given_once(tree, root.value, loop.function)
        kind = kind or (_kind_of(tree, given) if given is not None else None)
    if kind is None:
        raise Refusal("the statement is not built where it is sent")
    if names_in(root) & loop.names:
        raise Refusal("the table differs between iterations")
    if kind == "insert":
        _check_defaults(tree, loop, root, steps)
        return _of_insert(tree, loop, sender, statement, steps, rest, awaits=awaits)
    wait = "await " if awaits else ""
    return changed(tree, loop, root, steps, lambda statement: f"{wait}{sender}({statement}{rest})")


def _kind_of(tree: ModuleTree, node: cst.BaseExpression) -> str | None:
    if not isinstance(node, cst.Call):
        return None
    name = tree.code(node.func).rpartition(".")[2]
    is_method = isinstance(node.func, cst.Attribute) and len(node.args) == 0
    return name if name in _KINDS and (len(node.args) == 1 or is_method) else None


def _check_defaults(
    tree: ModuleTree, loop: Loop, root: cst.BaseExpression, steps: Sequence[Step]
) -> None:
    """See to it that no None is given to a column with a default.

    One row's is written as NULL; of a list of rows for a model, the default is taken.

    :raises Refusal: it may be.
    """
    given = given_once(tree, root.value, loop.function) if isinstance(root, cst.Name) else root
    into = given.args[0].value if isinstance(given, cst.Call) and given.args else None
    mapper = mapper_in(tree, into, loop.function) if into is not None else None
    if mapper is None:
        return
    for each in (value for step in steps if step.name == "values" for value in step.args):
        name = each.keyword.value if each.keyword is not None else ""
        if may_be_defaulted(mapper, name, each.value) and not loop.walked.is_never_none(each.value):
            raise Refusal(f"a None for {name} would be its default in a list of rows")


def _of_insert(
    tree: ModuleTree,
    loop: Loop,
    sender: str,
    statement: Any,
    steps: Sequence[Step],
    rest: str,
    *,
    awaits: bool,
) -> list[Any]:
    values = [step for step in steps if step.name == "values"]
    if len(values) != 1 or any(step.name not in _OF_INSERTS for step in steps):
        raise Refusal("the statement has more to it than its rows")
    without = statement.visit(_WithoutValues(values[0].args))
    if names_in(without) & loop.names:
        raise Refusal("the statement differs between iterations in more than its rows")
    pairs = []
    for each in values[0].args:
        if each.keyword is None:
            raise Refusal("the values are not given by name")
        pairs.append((each.keyword.value, each.value))
    rows = rows_of(tree, loop, pairs)
    return executed(loop, sender, tree.code(without), rows, rest, awaits=awaits)


class _WithoutValues(cst.CSTTransformer):
    """Takes ``.values(…)`` off a statement, wherever it is named in itself."""

    def __init__(self, args: Sequence[cst.Arg]) -> None:
        super().__init__()
        self._values = [each.value for each in args]

    def on_leave(self, original_node: Any, updated_node: Any) -> Any:
        if isinstance(original_node, cst.Call) and isinstance(original_node.func, cst.Attribute):
            given = [each.value for each in original_node.args]
            same = len(given) == len(self._values) and all(
                one.deep_equals(other) for one, other in zip(given, self._values, strict=True)
            )
            if original_node.func.attr.value == "values" and same:
                return updated_node.func.value
        return updated_node


def take_place(loop: Loop, new: Sequence[Any], lines: Sequence[cst.CSTNode]) -> None:
    """Put statements in the place of the loop, with the comments of what is gone."""
    comments = [each for line in lines for each in getattr(line, "leading_lines", ())]

    def written(node: cst.For) -> Any:
        first = new[0].with_changes(leading_lines=[*node.leading_lines, *comments])
        return cst.FlattenSentinel([first, *new[1:]]) if len(new) > 1 else first

    loop.replace(written)
