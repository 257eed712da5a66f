"""One write after a loop, or in its place, instead of one write in each turn of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import libcst as cst
from libcst import matchers as m
from sqlalchemy import inspect
from sqlalchemy.orm import Mapper, Session

from flask_perfkit.audit.patches.loops import Loop, loop_around, names_in
from flask_perfkit.audit.patches.module import ModuleTree
from flask_perfkit.audit.patches.refusal import Refusal
from flask_perfkit.recording.findings import Finding

_FLUSHES = m.Call(func=m.Attribute(attr=m.Name("flush") | m.Name("commit")), args=[])
_UNITS = m.Call(
    func=m.Attribute(attr=m.Name("begin_nested") | m.Name("begin")) | m.Name("Session"),
)
_LIBRARIES = ("sqlalchemy", "flask_sqlalchemy", "flask_perfkit")
_LEAVES = cst.Break | cst.Continue | cst.Return | cst.Yield | cst.Try | cst.TryStar


def write_at_once(tree: ModuleTree, lineno: int, finding: Finding) -> None:
    """Let the loop around a line write once.

    :raises Refusal: it is not of the plain kind for which that is sure.
    """
    line = _line(tree, lineno)
    loop = _loop(tree, line)
    if _insert_at_once(tree, loop):
        return
    if isinstance(line, cst.With):
        _turn_inside_out(tree, loop, line)
        return
    within = tree.parent(line)
    unit = tree.parent(within) if within is not None else None
    call = _call_of(line)
    if call is not None and m.matches(call, _FLUSHES):
        if isinstance(unit, cst.With):
            _turn_inside_out(tree, loop, unit, last=line)
        else:
            _move_behind(tree, loop, line)
    elif call is not None and m.matches(call, m.Call(func=m.Attribute(attr=m.Name("execute")))):
        _execute_once(tree, loop, line, call)
    else:
        raise Refusal("there is no rewrite that is sure to keep what the code does")


def _line(tree: ModuleTree, lineno: int) -> cst.SimpleStatementLine | cst.With:
    simple = [each for each in tree.around(lineno, cst.SimpleStatementLine) if len(each.body) == 1]
    if simple:
        return simple[0]
    units = [each for each in tree.around(lineno, cst.With) if tree.first_line(each) == lineno]
    if len(units) == 1:
        return units[0]
    raise Refusal(f"it cannot be told what writes at line {lineno}")


def _call_of(line: cst.SimpleStatementLine) -> cst.Call | None:
    (statement,) = line.body
    if not isinstance(statement, cst.Expr):
        return None
    value = statement.value
    if isinstance(value, cst.Await):
        value = value.expression
    return value if isinstance(value, cst.Call) else None


def _loop(tree: ModuleTree, node: cst.CSTNode) -> Loop:
    """Return the ``for`` statement around, which walks to its end.

    :raises Refusal: it is left early, or what it does may fail and go on.
    """
    loop = loop_around(tree, node)
    if not isinstance(loop.node, cst.For) or loop.node.orelse is not None:
        raise Refusal("the loop is no plain for statement")
    for each in tree.walk(loop.body):
        if isinstance(each, _LEAVES):
            raise Refusal("the loop is left early, or goes on after an error")
    return loop


def _insert_at_once(tree: ModuleTree, loop: Loop) -> bool:
    """Send one INSERT for all objects, where a turn only adds one and nobody listens to that."""
    steps: list[Any] = list(loop.body.body)
    unit = steps[0] if len(steps) == 1 and isinstance(steps[0], cst.With) else None
    inner: list[Any] = (
        list(cst.ensure_type(unit.body, cst.IndentedBlock).body) if unit is not None else steps
    )
    adds = m.SimpleStatementLine(
        [m.Expr(m.Call(m.Attribute(attr=m.Name("add")), [m.Arg(m.Call(), keyword=None)]))]
    )
    writes = m.SimpleStatementLine([m.Expr(_FLUSHES)])
    if not inner or not m.matches(inner[0], adds) or len(inner) > 2:
        return False
    if (len(inner) == 2 and not m.matches(inner[1], writes)) or (len(inner) == 1 and unit is None):
        return False
    call = cst.ensure_type(cst.ensure_type(inner[0].body[0], cst.Expr).value, cst.Call)
    made = cst.ensure_type(call.args[0].value, cst.Call)
    mapper = inspect(tree.value(made.func), raiseerr=False)
    if not isinstance(mapper, Mapper) or not _is_plain_row(mapper, made):
        return False
    rows = _dictionaries(tree, loop, made.args)
    tree.need([("sqlalchemy", "insert")])
    session = tree.code(cst.ensure_type(call.func, cst.Attribute).value)
    new = cst.parse_statement(f"{session}.execute(insert({tree.code(made.func)}), {rows})")
    last = [inner[1].with_changes(leading_lines=[])] if len(inner) == 2 else []
    if last and m.matches(
        last[0], m.SimpleStatementLine([m.Expr(m.Call(m.Attribute(attr=m.Name("flush"))))])
    ):
        last = []  # what was executed is not waiting
    body = [new, *last]

    def written(node: cst.For) -> Any:
        if unit is None:
            first = body[0].with_changes(leading_lines=node.leading_lines)
            return cst.FlattenSentinel([first, *body[1:]])
        return unit.with_changes(body=cst.IndentedBlock(body), leading_lines=node.leading_lines)

    if unit is not None:
        _check_unit(loop, unit)
    loop.replace(written)
    return True


def _is_plain_row(mapper: Mapper[Any], made: cst.Call) -> bool:
    """Tell whether an INSERT by itself does what adding an object does: columns, and no events."""
    dispatch: Any = mapper.dispatch
    of_sessions: Any = Session.dispatch
    flushes = (of_sessions.before_flush, of_sessions.after_flush)
    listeners = [*dispatch.before_insert, *dispatch.after_insert, *mapper.validators]
    listeners += chain.from_iterable(
        chain.from_iterable(each._clslevel.values()) for each in flushes
    )
    constructor: Any = mapper.class_manager.original_init
    return (
        not _foreign(listeners)
        and not mapper.inherits
        and str(constructor.__module__).startswith("sqlalchemy")
        and all(
            each.keyword is not None and each.keyword.value in mapper.column_attrs
            for each in made.args
        )
    )


def _foreign(listeners: Any) -> bool:
    """Tell whether somebody but a library of ours listens."""
    return any(
        not str(getattr(each, "__module__", "")).startswith(_LIBRARIES) for each in listeners
    )


def _check_unit(loop: Loop, unit: cst.With) -> None:
    if unit.asynchronous is not None or not all(
        m.matches(item.item, _UNITS) for item in unit.items
    ):
        raise Refusal("the unit of work is the application's own")
    if any(names_in(item.item) & names_in(loop.node.target) for item in unit.items):
        raise Refusal("each turn has a unit of work of its own")


def _move_behind(tree: ModuleTree, loop: Loop, line: cst.SimpleStatementLine) -> None:
    steps: list[Any] = list(loop.body.body)
    if steps[-1] is not line or len(steps) < 2:
        raise Refusal("the write is not the last step of each turn")
    tree.replace(line, lambda _: cst.RemoveFromParent())
    loop.replace(lambda node: cst.FlattenSentinel([node, line.with_changes(leading_lines=[])]))


def _turn_inside_out(
    tree: ModuleTree, loop: Loop, unit: cst.With, last: cst.SimpleStatementLine | None = None
) -> None:
    """Put the unit of work around the loop, and its last step behind the loop."""
    if list(loop.body.body) != [unit]:
        raise Refusal("the unit of work is not all that each turn does")
    _check_unit(loop, unit)
    steps = list(unit.body.body)
    if last is not None and (steps[-1] is not last or len(steps) < 2):
        raise Refusal("the write is not the last step of each turn")

    def turned(node: cst.For) -> cst.With:
        inner = cst.ensure_type(cst.ensure_type(node.body, cst.IndentedBlock).body[0], cst.With)
        body: Any = list(inner.body.body)
        kept = body[:-1] if last is not None else body
        moved = node.with_changes(
            body=cst.ensure_type(inner.body, cst.IndentedBlock).with_changes(body=kept),
            leading_lines=[],
        )
        return inner.with_changes(
            body=cst.IndentedBlock([moved, *body[len(kept) :]]), leading_lines=node.leading_lines
        )

    loop.replace(turned)


def _execute_once(
    tree: ModuleTree, loop: Loop, line: cst.SimpleStatementLine, call: cst.Call
) -> None:
    """Send one statement in the place of the whole loop, which does nothing else."""
    statement, first = _statement(tree, loop, line, call)
    rows = _rows(tree, loop, statement, call)
    assert isinstance(call.func, cst.Attribute)
    if names_in(call.func) & loop.names:
        raise Refusal("each turn has a session of its own")
    options = [tree.code(each).rstrip(", ") for each in call.args if each.keyword is not None]
    if any(names_in(each.value) & loop.names for each in call.args if each.keyword is not None):
        raise Refusal("the options differ from turn to turn")
    code = f"{tree.code(call.func)}({', '.join([*rows, *options])})"
    awaits = isinstance(tree.parent(call), cst.Await)
    new = cst.parse_statement(f"await {code}" if awaits else code)
    comments = [*(first.leading_lines if first is not None else ()), *line.leading_lines]
    loop.replace(lambda node: new.with_changes(leading_lines=[*node.leading_lines, *comments]))


def _statement(
    tree: ModuleTree, loop: Loop, line: cst.SimpleStatementLine, call: cst.Call
) -> tuple[cst.BaseExpression, cst.SimpleStatementLine | None]:
    if not call.args or call.args[0].keyword is not None:
        raise Refusal("it cannot be told which statement is sent")
    argument, lines = call.args[0].value, list(loop.body.body)
    if lines == [line]:
        return argument, None
    if isinstance(argument, cst.Name) and len(lines) == 2 and lines[1] is line:
        first = lines[0]
        if isinstance(first, cst.SimpleStatementLine) and len(first.body) == 1:
            (assign,) = first.body
            if isinstance(assign, cst.Assign) and m.matches(
                assign, m.Assign(targets=[m.AssignTarget(target=m.Name(argument.value))])
            ):
                return assign.value, first
    raise Refusal("each turn does more than to send the statement")


def _rows(tree: ModuleTree, loop: Loop, statement: cst.BaseExpression, call: cst.Call) -> list[str]:
    """Return the statement for all rows, and the rows, as code."""
    given = [each.value for each in call.args[1:] if each.keyword is None]
    if given:
        if len(given) > 1 or names_in(statement) & loop.names or not isinstance(given[0], cst.Dict):
            raise Refusal("the values are no plain dictionary")
        _check_plain(tree, given[0])
        return [tree.code(statement), loop.all_of(tree.code(given[0]), is_last=True)]
    root, steps = _chain(tree, statement)
    methods = [name for name, _ in steps]
    kind = tree.code(root.func).rpartition(".")[2]
    if names_in(root) & loop.names:
        raise Refusal("the table differs from turn to turn")
    if kind == "insert" and methods == ["values"]:
        return [tree.code(root), _dictionaries(tree, loop, steps[0][1])]
    if kind == "delete" and methods == ["where"]:
        return [f"{tree.code(root)}{_where(tree, loop, steps[0][1])}"]
    if kind == "update" and methods == ["where", "values"]:
        values = steps[1][1]
        if not any(names_in(each.value) & loop.names for each in values):
            written = ", ".join(tree.code(each).rstrip(", ") for each in values)
            return [f"{tree.code(root)}{_where(tree, loop, steps[0][1])}.values({written})"]
        raise Refusal("each row gets other values, and one that is not there would be an error")
    raise Refusal("the statement has more to say than its rows")


def _chain(
    tree: ModuleTree, node: cst.BaseExpression
) -> tuple[cst.Call, list[tuple[str, Sequence[cst.Arg]]]]:
    steps: list[tuple[str, Sequence[cst.Arg]]] = []
    while isinstance(node, cst.Call) and isinstance(node.func, cst.Attribute):
        if node.func.attr.value in ("insert", "update", "delete"):
            break
        steps.append((node.func.attr.value, node.args))
        node = node.func.value
    if not isinstance(node, cst.Call) or len(node.args) != 1:
        raise Refusal("the statement is not built where it is sent")
    return node, steps[::-1]


def _where(tree: ModuleTree, loop: Loop, conditions: Sequence[cst.Arg]) -> str:
    if len(conditions) != 1:
        raise Refusal("several conditions tell the rows")
    column, key = _comparison(tree, conditions[0])
    _check_never_null(tree, conditions[0].value)
    if names_in(key) & (loop.names - names_in(loop.node.target)):
        raise Refusal("the key is worked out inside of the loop")
    return f".where({column}.in_({loop.all_of(tree.code(key), is_last=True)}))"


def _check_never_null(tree: ModuleTree, condition: cst.BaseExpression) -> None:
    """See to it that no key is None, which ``==`` compares with NULL and ``IN`` finds nowhere.

    :raises Refusal: the column may be NULL, or is not known.
    """
    attribute = cst.ensure_type(condition, cst.Comparison).left
    value = tree.value(attribute)
    columns = getattr(getattr(value, "property", None), "columns", [value])
    if getattr(columns[0], "nullable", True):
        raise Refusal("the compared column may be NULL, which == finds and IN does not")


def _comparison(tree: ModuleTree, argument: cst.Arg) -> tuple[str, cst.BaseExpression]:
    value = argument.value
    if isinstance(value, cst.Comparison) and len(value.comparisons) == 1:
        (target,) = value.comparisons
        if isinstance(target.operator, cst.Equal):
            return tree.code(value.left), target.comparator
    raise Refusal("the rows are not told by one column and ==")


def _dictionaries(tree: ModuleTree, loop: Loop, values: Sequence[cst.Arg]) -> str:
    return _listed(tree, loop, [(_keyword(each), each.value) for each in values])


def _keyword(argument: cst.Arg) -> str:
    if argument.keyword is None:
        raise Refusal("the values are not given by name")
    return argument.keyword.value


def _listed(tree: ModuleTree, loop: Loop, pairs: list[tuple[str, cst.BaseExpression]]) -> str:
    for _, value in pairs:
        _check_plain(tree, value)
    written = ", ".join(f'"{name}": {tree.code(value)}' for name, value in pairs)
    return loop.all_of(f"{{{written}}}", is_last=True)


def _check_plain(tree: ModuleTree, node: cst.CSTNode) -> None:
    """See to it that values are Python's: an expression of SQL is no value of a row.

    :raises Refusal: one may be SQL.
    """
    for each in _globals_in(tree, node):
        kind = each if isinstance(each, type) else type(each)
        is_sql = kind.__module__.partition(".")[0] == "sqlalchemy"
        if is_sql or getattr(each, "__mapper__", None) is not None:
            raise Refusal("a value is worked out by the database")


def _globals_in(tree: ModuleTree, node: cst.CSTNode) -> Iterator[Any]:
    for each in tree.walk(node):
        if isinstance(each, cst.Name):
            value = tree.value(each)
            if value is not None:
                yield value
