"""One UPDATE or DELETE for the rows of all turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import libcst as cst

from flask_perfkit.audit.patches.code.loops import Loop
from flask_perfkit.audit.patches.code.module import ModuleTree
from flask_perfkit.audit.patches.code.names import names_in, value_of
from flask_perfkit.audit.patches.code.refusal import Refusal
from flask_perfkit.audit.patches.code.steps import Step, chain_of
from flask_perfkit.audit.patches.reads.asked import Asked
from flask_perfkit.audit.patches.reads.keys import Keyed, keyed
from flask_perfkit.audit.patches.reads.queries import begins_query
from flask_perfkit.audit.patches.writes.updates import Pair, by_case


def queried(
    tree: ModuleTree, loop: Loop, line: cst.SimpleStatementLine, call: cst.Call
) -> list[Any]:
    """Return the statements that update or delete the rows of all turns by a legacy query.

    :raises Refusal: the loop does more, or other rows would be written.
    """
    if list(loop.body.body) != [line]:
        raise Refusal("each iteration does more than send the statement")
    end = cst.ensure_type(call.func, cst.Attribute)
    begin, steps = chain_of(end.value, begins_query)
    if any(step.name not in ("filter", "filter_by") for step in steps):
        raise Refusal("the query has more to it than its rows")
    model = begin.value if isinstance(begin, cst.Attribute) else None
    if isinstance(begin, cst.Call) and len(begin.args) == 1:
        model = begin.args[0].value
    if model is None or not begins_query(begin) or names_in(begin) & loop.names:
        raise Refusal("it is not clear which model the query is about")
    split = _keys_of(tree, loop, [cst.Arg(model)], steps, tree.code(begin))

    def sent(keys: str, given: str) -> str:
        return f"{tree.code(begin)}{split.written(keys)}.{end.attr.value}({given})"

    if any(names_in(each.value) & loop.names for each in call.args):
        pairs = _pairs(call.args)
        return _of_other_values(
            tree, loop, split, pairs, lambda keys, values: sent(keys, _dictionary(values))
        )
    _check_once_each(tree, loop, split, call.args)
    keys = loop.all_of(split.value(tree), is_last=True)
    given = ", ".join(tree.code(each).strip().rstrip(",") for each in call.args)
    return [cst.parse_statement(sent(keys, given))]


def _pairs(arguments: Sequence[cst.Arg]) -> list[Pair]:
    """Return what ``update({"name": value})`` sets."""
    given = arguments[0].value if len(arguments) == 1 else None
    if not isinstance(given, cst.Dict):
        raise Refusal("each row gets other values, and they are not all to be seen")
    pairs = []
    for each in given.elements:
        if not isinstance(each, cst.DictElement) or not isinstance(each.key, cst.SimpleString):
            raise Refusal("each row gets other values, and they are not all to be seen")
        pairs.append((str(each.key.evaluated_value), each.value))
    return pairs


def _dictionary(values: dict[str, str]) -> str:
    return "{" + ", ".join(f'"{name}": {code}' for name, code in values.items()) + "}"


def _of_other_values(
    tree: ModuleTree,
    loop: Loop,
    split: Keyed,
    pairs: Sequence[Pair],
    sent: Callable[[str, dict[str, str]], str],
) -> list[Any]:
    """Return the statements that give each row a value of its own."""
    written = {name for name, _ in pairs}
    if written & {key.column.key for key in split.keys}:
        raise Refusal("the rows are found by a column that is written")
    chosen = by_case(tree, loop, split, pairs)
    sending = cst.parse_statement(sent(chosen.keys, chosen.values))
    new: list[Any] = [cst.parse_statement(each) for each in chosen.lines]
    if loop.walked.may_be_empty():
        sending = cst.If(cst.Name(chosen.keys), cst.IndentedBlock([sending]))
    return [*new, sending]


def changed(
    tree: ModuleTree,
    loop: Loop,
    root: cst.BaseExpression,
    steps: Sequence[Step],
    sent: Callable[[str], str],
) -> list[Any]:
    """Return the statements that update or delete all rows.

    :raises Refusal: other rows would be written, or other values.
    """
    rows = [step for step in steps if step.name in ("where", "filter", "filter_by")]
    others = [step for step in steps if step not in rows]
    if not isinstance(root, cst.Call) or any(
        step.name not in ("values", "execution_options", "prefix_with") for step in others
    ):
        raise Refusal("the statement has more to it than its rows")
    given = [argument for step in others for argument in step.args]
    split = _keys_of(tree, loop, root.args, rows, None)
    if any(names_in(each.value) & loop.names for each in given):
        if [step.name for step in others] != ["values"] or any(not each.keyword for each in given):
            raise Refusal("each row gets other values, and they are not all to be seen")
        pairs = [(each.keyword.value, each.value) for each in given if each.keyword is not None]

        def chosen(keys: str, values: dict[str, str]) -> str:
            written = ", ".join(f"{name}={code}" for name, code in values.items())
            return sent(f"{tree.code(root)}{split.written(keys)}.values({written})")

        return _of_other_values(tree, loop, split, pairs, chosen)
    _check_once_each(tree, loop, split, given)
    more = "".join(
        f".{step.name}({', '.join(tree.code(each).strip().rstrip(',') for each in step.args)})"
        for step in others
    )
    keys = loop.all_of(split.value(tree), is_last=True)
    return [cst.parse_statement(sent(f"{tree.code(root)}{split.written(keys)}{more}"))]


def _keys_of(
    tree: ModuleTree, loop: Loop, root: Sequence[cst.Arg], steps: Sequence[Step], query: str | None
) -> Keyed:
    node = cst.Name("_")
    asked = Asked(node, loop.function, "", query, root, steps, "rows")
    split = keyed(tree, asked, loop, in_python=False)
    for key in split.keys:
        if names_in(key.value) & (loop.names - loop.targets):
            raise Refusal("the key is worked out inside of the loop")
    if len(split.keys) > 1:
        tree.need([("sqlalchemy", "tuple_")])
    return split


def _check_once_each(tree: ModuleTree, loop: Loop, split: Keyed, values: Sequence[cst.Arg]) -> None:
    """See to it that one statement writes what one for each turn would.

    :raises Refusal: it may get a value that comes of its old one, or be found by what it gets.
    """
    is_worked_out = any(
        isinstance(each, cst.Call)
        or hasattr(value_of(tree, each, loop.function), "__clause_element__")
        for argument in values
        for each in tree.walk(argument.value)
    )
    if is_worked_out and not all(loop.walked.are_distinct(key.value) for key in split.keys):
        raise Refusal("a row that is named twice would be written once")
    written = {each.keyword.value for each in values if each.keyword is not None}
    if written & {key.column.key for key in split.keys}:
        raise Refusal("the rows are found by a column that is written")
