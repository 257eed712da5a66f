"""One select before a loop, and a dictionary, in the place of one select for each turn of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import libcst as cst
from libcst import matchers as m

from flask_perfkit.audit.patches.loops import Loop, loop_around, names_in
from flask_perfkit.audit.patches.module import ModuleTree
from flask_perfkit.audit.patches.refusal import Refusal
from flask_perfkit.cures.selects import Prefetch
from flask_perfkit.recording.findings import Finding

_SHORT = 80
_KEYS = "__all_keys__"
_KEEPS_ROWS = {"where", "filter", "filter_by", "order_by", "options", "select_from", "join"}


def prefetch(tree: ModuleTree, lineno: int, finding: Finding) -> None:
    """Ask before the loop for all keys, and look each up in its turn.

    :raises Refusal: the statement or the loop is not of the plain kind for which that is sure.
    """
    if not isinstance(finding.cure, Prefetch) and "." in finding.subject:
        raise Refusal("no loader option can be put on the select")
    if not isinstance(finding.cure, Prefetch):
        raise Refusal("the statement does not come apart into one for all keys")
    cure = finding.cure
    lookup = _lookup(tree, lineno, cure)
    loop = loop_around(tree, lookup.node)
    loop.check_reads(lookup.key)
    keys = loop.all_of(tree.code(lookup.key))
    name = loop.new_name(lookup.names)
    loop.insert_before(lookup.fetching(name, keys))
    tree.replace(lookup.node, lambda _: cst.parse_expression(lookup.found(name, tree)))
    if lookup.assigned is not None:
        tree.replace(lookup.assigned, lambda _: cst.RemoveFromParent())


@dataclass(frozen=True)
class _Lookup:
    """What is asked for in each turn.

    ``node`` is replaced by the look-up of ``key``; ``select`` is the statement for all keys, with
    ``_KEYS`` where they go. ``row`` and ``value`` tell what a row is kept as, and under what.
    """

    node: cst.BaseExpression
    key: cst.BaseExpression
    session: str
    select: str
    row: str
    row_key: str
    value: str
    names: str
    method: str
    many: bool
    missing: str
    awaits: bool
    assigned: cst.BaseStatement | None = None

    def fetching(self, name: str, keys: str) -> list[str]:
        """Return the statements that ask for all keys."""
        asked = f"{self.session}.{self.method}({self.select.replace(_KEYS, keys)})"
        asked = f"await {asked}" if self.awaits else asked
        if not self.many:
            made = f"{self.row_key}: {self.value} for {self.row} in {asked}"
            one_line = f"{name} = {{{made}}}"
            if len(one_line) < _SHORT:
                return [one_line]
            made = made.replace(f" for {self.row} in ", f"\n    for {self.row} in ", 1)
            return [f"{name} = {{\n    {made}\n}}"]
        keep = f"{name}.setdefault({self.row_key}, []).append({self.value})"
        return [f"{name} = {{}}", f"for {self.row} in {asked}:\n    {keep}"]

    def found(self, name: str, tree: ModuleTree) -> str:
        """Return what stands where the statement was sent."""
        default = f", {self.missing}" if self.missing else ""
        return f"{name}.get({tree.code(self.key)}{default})"


def _lookup(tree: ModuleTree, lineno: int, cure: Prefetch) -> _Lookup:
    calls = [
        call
        for call in tree.around(lineno, cst.Call)
        if tree.first_line(call) == lineno
        and isinstance(call.func, cst.Attribute)
        and call.func.attr.value in ("get", "scalar", "scalars", "execute")
        and call.args
        and not any(each.star or each.keyword for each in call.args)
    ]
    if len(calls) != 1:
        raise Refusal(f"it cannot be told which expression at line {lineno} asks")
    (call,) = calls
    assert isinstance(call.func, cst.Attribute)
    if call.func.attr.value == "get":
        return _by_primary_key(tree, call, cure)
    if len(call.args) != 1:
        raise Refusal("the statement gets its values apart")
    return _by_condition(tree, call, cure)


def _by_primary_key(tree: ModuleTree, call: cst.Call, cure: Prefetch) -> _Lookup:
    if len(call.args) != 2 or cure.has_others or not cure.has_key_among_columns:
        raise Refusal("the look-up by primary key has more to say than the key")
    model = tree.code(call.args[0].value)
    keys = cure.key_names
    tree.need([("sqlalchemy", "select"), *([("sqlalchemy", "tuple_")] if len(keys) > 1 else [])])
    columns = [f"{model}.{key}" for key in keys]
    compared = columns[0] if len(keys) == 1 else f"tuple_({', '.join(columns)})"
    row_key = f"row.{keys[0]}" if len(keys) == 1 else f"({', '.join(f'row.{key}' for key in keys)})"
    return _Lookup(
        **_sending(tree, call),
        key=call.args[1].value,
        select=f"select({model}).where({compared}.in_({_KEYS}))",
        row="row",
        row_key=row_key,
        value="row",
        names=_plural(model),
        method="scalars",
        many=False,
        missing="",
    )


def _by_condition(tree: ModuleTree, call: cst.Call, cure: Prefetch) -> _Lookup:
    if cure.keys != 1:
        raise Refusal("it compares several columns with what differs")
    if cure.may_miss_null:
        raise Refusal("the compared column may be NULL, which == finds and IN does not")
    statement, assigned = _statement(tree, call)
    loop = loop_around(tree, call)
    select, column, key = _for_all(
        tree, statement, loop, aggregates=cure.aggregates, adds_key=not cure.has_key_among_columns
    )
    use, outer = _use(tree, call)
    unique = cure.is_unique
    sending = _sending(tree, call) | {"node": outer}
    common: dict[str, Any] = {**sending, "key": key, "select": select, "assigned": assigned}
    if cure.aggregates:
        if use != "value":
            raise Refusal("the value is used in another way than as one value")
        counts = cure.counts
        return _Lookup(
            **common,
            row="key, value",
            row_key="key",
            value="value",
            names="counts" if counts else "values",
            method="execute",
            many=False,
            missing="0" if counts else "",
        )
    is_object = cure.has_key_among_columns
    if use == "value" and not unique:
        raise Refusal("several rows may have one key, and the first one is asked for")
    return _Lookup(
        **common,
        row="row" if is_object else "key, value",
        row_key=f"row.{column.rpartition('.')[2]}" if is_object else "key",
        value="row" if is_object else "value",
        names="found",
        method="scalars" if is_object else "execute",
        many=use == "rows",
        missing="[]" if use == "rows" else "",
    )


def _sending(tree: ModuleTree, call: cst.Call) -> dict[str, Any]:
    assert isinstance(call.func, cst.Attribute)
    above = tree.parent(call)
    awaits = isinstance(above, cst.Await)
    return {
        "node": above if awaits else call,
        "session": tree.code(call.func.value),
        "awaits": awaits,
    }


def _use(tree: ModuleTree, call: cst.Call) -> tuple[str, cst.BaseExpression]:
    """Return whether one value or all rows are used, and the expression that is it.

    :raises Refusal: they are used in another way.
    """
    assert isinstance(call.func, cst.Attribute)
    method = call.func.attr.value
    outer: Any = call
    if isinstance(tree.parent(call), cst.Await):
        outer = tree.parent(call)
    if method == "scalar":
        return "value", outer
    chain = []
    while isinstance(tree.parent(outer), cst.Attribute):
        above = tree.parent(outer)
        following = tree.parent(above) if above is not None else None
        if (
            not (isinstance(above, cst.Attribute) and isinstance(following, cst.Call))
            or following.args
        ):
            break
        chain.append(above.attr.value)
        outer = following
        if chain[-1] in ("all", "first", "scalar_one", "scalar", "scalar_one_or_none"):
            break
    if method == "execute" and chain in (["scalar_one"], ["scalar"]):
        return "value", outer
    rows = (["all"], []) if method == "scalars" else (["scalars", "all"], ["scalars"])
    if chain in rows and (chain[-1:] == ["all"] or _is_walked(tree, outer)):
        return "rows", outer
    if method == "scalars" and chain == ["first"]:
        return "value", outer
    raise Refusal(f"what .{'.'.join([method, *chain])} gives is used in a way of its own")


def _is_walked(tree: ModuleTree, node: Any) -> bool:
    above = tree.parent(node)
    return isinstance(above, cst.For | cst.CompFor) and above.iter is node


def _statement(
    tree: ModuleTree, call: cst.Call
) -> tuple[cst.BaseExpression, cst.BaseStatement | None]:
    """Return the statement's expression, and the line that assigns it, if one does."""
    argument = call.args[0].value
    if not isinstance(argument, cst.Name):
        return argument, None
    function = tree.function_of(call)
    assigned = [
        each
        for each in tree.walk(function)
        if isinstance(each, cst.Assign)
        and m.matches(each.targets[0].target, m.Name(argument.value))
    ]
    uses = [each for each in tree.walk(function) if m.matches(each, m.Name(argument.value))]
    if len(assigned) != 1 or len(uses) != 2 or len(assigned[0].targets) != 1:
        raise Refusal(f"{argument.value} is built in several steps")
    line: Any = tree.parent(assigned[0])
    if tree.parent(line) is not tree.parent(_line_of(tree, call)) or len(line.body) != 1:
        raise Refusal(f"{argument.value} is built elsewhere")
    return assigned[0].value, line


def _line_of(tree: ModuleTree, node: cst.CSTNode) -> cst.CSTNode:
    """Return the statement that a node stands in, as a block holds it."""
    for each in (node, *tree.ancestors(node)):
        if isinstance(tree.parent(each), cst.IndentedBlock | cst.Module):
            return each
    raise Refusal("it stands in no block")


def _for_all(
    tree: ModuleTree,
    statement: cst.BaseExpression,
    loop: Loop,
    *,
    aggregates: bool,
    adds_key: bool,
) -> tuple[str, str, cst.BaseExpression]:
    """Return the select for all keys as code, the column that is compared, and the key.

    :raises Refusal: the select is not of a kind that comes apart so.
    """
    chain, node = [], statement
    while isinstance(node, cst.Call) and isinstance(node.func, cst.Attribute):
        if node.func.attr.value == "select":
            break
        chain.append(node)
        node = node.func.value
    name = node.func if isinstance(node, cst.Call) else None
    if not isinstance(node, cst.Call) or tree.code(name or node).rpartition(".")[2] != "select":
        raise Refusal("the statement does not begin with select() where it is sent")
    changing = loop.names
    column, key = "", None
    parts = []
    for call in reversed(chain):
        assert isinstance(call.func, cst.Attribute)
        method = call.func.attr.value
        if method not in _KEEPS_ROWS:
            raise Refusal(f"the statement has .{method}()")
        arguments = []
        for argument in call.args:
            if not names_in(argument.value) & changing:
                arguments.append(tree.code(argument).rstrip(", "))
                continue
            if key is not None:
                raise Refusal("several conditions differ from turn to turn")
            column, key = _comparison(tree, argument, node, method)
            if names_in(cst.parse_expression(column)) & changing:
                raise Refusal("the compared column differs from turn to turn")
            if method == "filter_by":
                arguments = []
                others = [each for each in call.args if each is not argument]
                if others:
                    parts.append(
                        f".filter_by({', '.join(tree.code(each).rstrip(', ') for each in others)})"
                    )
                parts.append(f".where({column}.in_({_KEYS}))")
                break
            arguments.append(f"{column}.in_({_KEYS})")
        if arguments:
            parts.append(f".{method}({', '.join(arguments)})")
    if key is None or names_in(node) & changing:
        raise Refusal("no condition of the statement compares a column with what differs")
    selected = [tree.code(each).rstrip(", ") for each in node.args]
    if aggregates or adds_key:
        if len(selected) != 1:
            raise Refusal("several columns are selected")
        selected = [column, *selected]
    built = f"{tree.code(node.func)}({', '.join(selected)}){''.join(parts)}"
    return (f"{built}.group_by({column})" if aggregates else built), column, key


def _comparison(
    tree: ModuleTree, argument: cst.Arg, select: cst.Call, method: str
) -> tuple[str, cst.BaseExpression]:
    """Return the column and the key of ``column == key`` or ``column=key``."""
    value = argument.value
    if method == "filter_by" and argument.keyword is not None:
        model = cst.ensure_type(select, cst.Call).args[0].value
        owner = model.func if isinstance(model, cst.Call) else model
        if isinstance(model, cst.Call):  # func.count(Comment.id): what it counts tells the model
            inner = model.args[0].value if model.args else owner
            owner = inner.value if isinstance(inner, cst.Attribute) else inner
        elif isinstance(model, cst.Attribute) and not isinstance(tree.value(model), type):
            owner = model.value
        return f"{tree.code(owner)}.{argument.keyword.value}", value
    if method not in ("where", "filter") or not isinstance(value, cst.Comparison):
        raise Refusal("what differs from turn to turn is not compared with one column by ==")
    (target, *more) = value.comparisons
    if more or not isinstance(target.operator, cst.Equal):
        raise Refusal("what differs from turn to turn is not compared with one column by ==")
    return tree.code(value.left), target.comparator


def _plural(model: str) -> str:
    name = model.rpartition(".")[2].lower()
    return f"{name}s_by_key"
