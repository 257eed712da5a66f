"""One statement with all rows, in the place of a loop that sends one for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import libcst as cst

from flask_perfkit.audit.patches.asked import Asked
from flask_perfkit.audit.patches.keys import Keyed, keyed
from flask_perfkit.audit.patches.loops import Loop
from flask_perfkit.audit.patches.module import ModuleTree
from flask_perfkit.audit.patches.names import given_once, names_in, value_of
from flask_perfkit.audit.patches.plain import check_plain
from flask_perfkit.audit.patches.refusal import Refusal
from flask_perfkit.audit.patches.steps import Step, chain_of, written_out
from flask_perfkit.audit.patches.updates import Pair, by_case

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
        raise Refusal("each turn has a session of its own")
    places = [each for each in call.args if each.keyword is None]
    options = [each for each in call.args if each.keyword is not None]
    if not places or len(places) > 2 or any(each.star for each in call.args):
        raise Refusal("it cannot be told which statement is sent")
    if any(names_in(each.value) & loop.names for each in options):
        raise Refusal("the options differ from turn to turn")
    statement, lines = written_out(tree, places[0].value, line, loop.body)
    if [*reversed(lines), line] != list(loop.body.body):
        raise Refusal("each turn does more than to send the statement")
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
    _take_place(loop, new, [*reversed(lines), line])


def query_once(tree: ModuleTree, loop: Loop, line: cst.SimpleStatementLine, call: cst.Call) -> None:
    """Let one legacy query update or delete the rows of all turns.

    :raises Refusal: the loop does more, or other rows would be written.
    """
    if list(loop.body.body) != [line]:
        raise Refusal("each turn does more than to send the statement")
    end = cst.ensure_type(call.func, cst.Attribute)
    begin, steps = chain_of(end.value, lambda each: tree.code(each).endswith(".query"))
    if any(step.name not in ("filter", "filter_by") for step in steps):
        raise Refusal("the query has more to say than its rows")
    model = begin.value if isinstance(begin, cst.Attribute) else None
    if model is None or not tree.code(begin).endswith(".query"):
        raise Refusal("it cannot be told which model the query is about")
    split = _keys_of(tree, loop, [cst.Arg(model)], steps, tree.code(begin))

    def sent(keys: str, given: str) -> str:
        return f"{tree.code(begin)}{split.written(keys)}.{end.attr.value}({given})"

    if any(names_in(each.value) & loop.names for each in call.args):
        pairs = _pairs(call.args)
        new = _of_other_values(
            tree, loop, split, pairs, lambda keys, values: sent(keys, _dictionary(values))
        )
    else:
        _check_once_each(tree, loop, split, call.args)
        keys = loop.all_of(split.value(tree), is_last=True)
        given = ", ".join(tree.code(each).strip().rstrip(",") for each in call.args)
        new = [cst.parse_statement(sent(keys, given))]
    _take_place(loop, new, [line])


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
    return f"{{{', '.join(f'{chr(34)}{name}{chr(34)}: {code}' for name, code in values.items())}}}"


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
        raise Refusal("the rows are told by a column that is written")
    chosen = by_case(tree, loop, split, pairs)
    sending = cst.parse_statement(sent(chosen.keys, chosen.values))
    new: list[Any] = [cst.parse_statement(each) for each in chosen.lines]
    if loop.may_be_empty():
        sending = cst.If(cst.Name(chosen.keys), cst.IndentedBlock([sending]))
    return [*new, sending]


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
    if not loop.may_be_empty() and len(whole) < _SHORT:
        return [cst.parse_statement(whole), *last]
    name = loop.new_name("rows")
    sending = cst.parse_statement(f"{wait}{sender}({statement}, {name}{rest})")
    if not loop.may_be_empty():
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
        raise Refusal("the table differs from turn to turn")
    if kind == "insert":
        return _of_insert(tree, loop, sender, statement, steps, rest, awaits=awaits)
    wait = "await " if awaits else ""
    return _of_change(
        tree, loop, root, steps, lambda statement: f"{wait}{sender}({statement}{rest})"
    )


def _kind_of(tree: ModuleTree, node: cst.BaseExpression) -> str | None:
    if not isinstance(node, cst.Call):
        return None
    name = tree.code(node.func).rpartition(".")[2]
    is_method = isinstance(node.func, cst.Attribute) and len(node.args) == 0
    return name if name in _KINDS and (len(node.args) == 1 or is_method) else None


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
        raise Refusal("the statement has more to say than its rows")
    without = statement.visit(_WithoutValues(values[0].args))
    if names_in(without) & loop.names:
        raise Refusal("the statement differs from turn to turn in more than its rows")
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


def _of_change(
    tree: ModuleTree,
    loop: Loop,
    root: cst.BaseExpression,
    steps: Sequence[Step],
    sent: Callable[[str], str],
) -> list[Any]:
    """Return the statements that update or delete all rows."""
    rows = [step for step in steps if step.name in ("where", "filter", "filter_by")]
    others = [step for step in steps if step not in rows]
    if not isinstance(root, cst.Call) or any(
        step.name not in ("values", "execution_options", "prefix_with") for step in others
    ):
        raise Refusal("the statement has more to say than its rows")
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
    """See to it that a row that is named twice is written as by two statements.

    :raises Refusal: it may get a value that comes of its old one, or be found by what it gets.
    """
    is_fixed = not any(
        isinstance(value_of(tree, each, loop.function), object)
        and not isinstance(each, cst.Name)
        and hasattr(value_of(tree, each, loop.function), "comparator")
        for argument in values
        for each in tree.walk(argument.value)
        if isinstance(each, cst.Name | cst.Attribute)
    )
    has_sql = not is_fixed or any(
        isinstance(each, cst.Call) for argument in values for each in tree.walk(argument.value)
    )
    if has_sql and not all(loop.are_distinct(key.value) for key in split.keys):
        raise Refusal("a row that is named twice would be written once")
    written = {each.keyword.value for each in values if each.keyword is not None}
    if written & {key.column.key for key in split.keys}:
        raise Refusal("the rows are told by a column that is written")


def _take_place(loop: Loop, new: Sequence[Any], lines: Sequence[cst.CSTNode]) -> None:
    """Put statements in the place of the loop, with the comments of what is gone."""
    comments = [each for line in lines for each in getattr(line, "leading_lines", ())]

    def written(node: cst.For) -> Any:
        first = new[0].with_changes(leading_lines=[*node.leading_lines, *comments])
        return cst.FlattenSentinel([first, *new[1:]]) if len(new) > 1 else first

    loop.replace(written)
