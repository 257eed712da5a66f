"""A helper that asks for one, called in a loop: what it gives, written where it is called."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import libcst as cst
from libcst import matchers as m

from flask_perfkit.audit.patches.code.loops import innermost_loop
from flask_perfkit.audit.patches.code.module import ModuleTree, bracketed
from flask_perfkit.audit.patches.code.names import bound_in, names_in
from flask_perfkit.audit.patches.code.refusal import Refusal
from flask_perfkit.audit.patches.code.steps import Step, substituted, written_out
from flask_perfkit.audit.patches.reads.asked import Asked
from flask_perfkit.audit.patches.reads.uses import uses_of
from flask_perfkit.cures.loaders import Import
from flask_perfkit.recording.findings import Finding

_ASKED = "__asked__"
_DEPTH = 4
_PLAIN = (cst.Name, cst.Attribute, cst.SimpleString, cst.Integer, cst.Float)


@dataclass(frozen=True)
class Place:
    """Where a turn of a loop gets an answer: an expression around it takes the place of a node.

    ``gone`` are the lines there that only built the statement.
    """

    node: cst.BaseExpression
    asked: Asked
    expression: cst.BaseExpression
    gone: tuple[cst.SimpleStatementLine, ...] = ()

    @property
    def is_bare(self) -> bool:
        """Whether nothing is done with the answer in the expression."""
        return isinstance(self.expression, cst.Name)

    def around(self, tree: ModuleTree, answer: cst.BaseExpression) -> Any:
        """Return the expression around an answer."""
        if self.is_bare:
            return answer
        return bracketed(substituted(tree, self.expression, {_ASKED: answer}))


def bare_place(asked: Asked) -> Place:
    """Return the place where a loop itself asks."""
    return Place(asked.node, asked, cst.Name(_ASKED), asked.gone)


def places_of(
    tree: ModuleTree, asked: Asked, finding: Finding, there: ModuleTree
) -> Sequence[Place]:
    """Return where loops of a module get what is asked for: there, or where its function is called.

    :param there: the module with the loops, which may be another one.
    :raises Refusal: no loop does, or its function does more than query.
    """
    if innermost_loop(tree, asked.node) is not None and tree is there:
        return [bare_place(asked)]
    lines = {line for name, line, _ in finding.callers if name == there.module.__file__}
    found: list[Place] = []
    if lines or tree is there:
        found += _called(tree, there, asked, cst.Name(_ASKED), asked.node, lines, _DEPTH)
    if not found:
        raise Refusal("no loop over something known is around it in its function")
    return found


def _called(
    tree: ModuleTree,
    there: ModuleTree,
    asked: Asked,
    expression: cst.BaseExpression,
    node: cst.BaseExpression,
    lines: set[int],
    depth: int,
) -> Iterator[Place]:
    """Yield the places that call the function of a node, through further helpers."""
    helper = tree.function_of(node)
    if helper is None or depth == 0:
        return
    uses = list(uses_of(tree, helper, there, lines))
    asked, given = _returned(tree, helper, asked, expression, node)
    for use in uses:
        values = arguments_of(helper, use.call, use.receiver)
        names = (names_in(given) | _names_of(asked)) - values.keys() - {_ASKED}
        check_names(tree, there, helper, names, use.node)
        outer: Any = there.parent(use.node) if helper.asynchronous is not None else use.node
        if helper.asynchronous is not None and not isinstance(outer, cst.Await):
            raise Refusal(f"{helper.name.value}() is called without waiting for it")
        moved = _moved(there, asked, values, there.function_of(use.node))
        around = substituted(there, given, values)
        if innermost_loop(there, use.node) is not None:
            yield Place(outer, moved, around)
        else:
            yield from _called(there, there, moved, around, outer, set(), depth - 1)


def _returned(
    tree: ModuleTree,
    helper: cst.FunctionDef,
    asked: Asked,
    expression: cst.BaseExpression,
    node: cst.BaseExpression,
) -> tuple[Asked, cst.BaseExpression]:
    """Return what a function gives back, around what is asked for.

    :raises Refusal: it does more than query.
    """
    name = helper.name.value
    body: Any = helper.body
    steps = list(body.body)
    last = steps[-1] if steps else None
    if not isinstance(last, cst.SimpleStatementLine) or len(last.body) != 1:
        raise Refusal(f"{name}() does more than query")
    (returning,) = last.body
    if not isinstance(returning, cst.Return) or returning.value is None:
        raise Refusal(f"{name}() does more than query")

    def marked(given: cst.BaseExpression) -> Any:
        return given.visit(_Marking(node, expression))

    value = marked(returning.value)
    value, lines = written_out(tree, value, returning, helper.body, marked)
    if _ASKED not in names_in(value):
        raise Refusal(f"what is queried is not what {name}() returns")
    known = {id(each) for each in (*lines, *asked.gone, last)}
    for each in steps:
        if id(each) not in known and not m.matches(
            each, m.SimpleStatementLine([m.Expr(m.SimpleString())])
        ):
            raise Refusal(f"{name}() does more than query")
    if (names_in(value) | _names_of(asked)) & bound_in(tree, helper.body):
        raise Refusal(f"{name}() works with variables of its own")
    if any(isinstance(each, cst.Await) for each in tree.walk(value)):
        raise Refusal(f"{name}() waits for something else, too")
    return asked, value


class _Marking(cst.CSTTransformer):
    """Puts an expression in the place of what asks, which may have been copied meanwhile."""

    def __init__(self, asked: cst.BaseExpression, expression: cst.BaseExpression) -> None:
        super().__init__()
        self._asked = asked
        self._expression = expression

    def on_leave(self, original_node: Any, updated_node: Any) -> Any:
        is_asked = isinstance(original_node, type(self._asked))
        if is_asked and original_node.deep_equals(self._asked):
            return self._expression
        return updated_node


def check_names(
    tree: ModuleTree, there: ModuleTree, helper: cst.FunctionDef, names: set[str], node: cst.CSTNode
) -> None:
    """See to it that what a helper names means the same where it is called.

    :raises Refusal: something else has that name there.
    """
    if not all(name in vars(tree.module) or _is_builtin(tree, name) for name in names):
        raise Refusal(f"{helper.name.value}() works with variables of its own")
    function = there.function_of(node)
    if names & (bound_in(there, function) if function is not None else set()):
        raise Refusal(f"{helper.name.value}() and what calls it mean different things by a name")
    if tree is not there:
        there.need(
            [_import_of(tree, name) for name in sorted(names) if not _is_builtin(tree, name)]
        )


def _is_builtin(tree: ModuleTree, name: str) -> bool:
    return tree.is_builtin(cst.Name(name))


def _import_of(tree: ModuleTree, name: str) -> Import:
    """Return what gives another module a name of this one: its home, or this module."""
    value = tree.value(cst.Name(name))
    for home in ("sqlalchemy", "sqlalchemy.orm", getattr(value, "__module__", None)):
        known = sys.modules.get(home) if isinstance(home, str) else None
        if known is not None and vars(known).get(name, known) is value:
            return known.__name__, name
    return tree.module.__name__, name


def _names_of(asked: Asked) -> set[str]:
    parts = [each.value for each in asked.root]
    parts += [each.value for step in asked.steps for each in step.args]
    codes = (asked.session, asked.query, asked.select if asked.query is None else "")
    parts += [cst.parse_expression(each) for each in codes if each]
    parts += [asked.children] if asked.children is not None else []
    return {name for each in parts for name in names_in(each)}


def arguments_of(
    helper: cst.FunctionDef,
    call: cst.Call | None,
    receiver: cst.BaseExpression | None,
    *,
    made: bool = False,
) -> dict[str, cst.BaseExpression]:
    """Return what each parameter is given by a call, or by reading a property.

    :param receiver: what comes first, as ``self``.
    :param made: an argument may be made there, since it is used once.

    :raises Refusal: that cannot be seen, or is worked out by calls.
    """
    parameters = helper.params
    names = [each.name.value for each in parameters.params]
    arguments = call.args if call is not None else ()
    if parameters.star_kwarg or parameters.kwonly_params or parameters.posonly_params:
        raise Refusal("the function takes its arguments in an unusual way")
    if isinstance(parameters.star_arg, cst.Param) or any(each.star for each in arguments):
        raise Refusal("the function takes its arguments in an unusual way")
    values = {
        each.name.value: each.default for each in parameters.params if each.default is not None
    }
    given = [receiver] if receiver is not None else []
    given += [each.value for each in arguments if each.keyword is None]
    values |= zip(names, given, strict=False)
    values |= {each.keyword.value: each.value for each in arguments if each.keyword is not None}
    is_plain = made or all(isinstance(each, _PLAIN) for each in values.values())
    if values.keys() != set(names) or not is_plain:
        raise Refusal("the function is called with what is worked out there")
    return values


def _moved(
    tree: ModuleTree,
    asked: Asked,
    values: dict[str, cst.BaseExpression],
    function: cst.FunctionDef | None,
) -> Asked:
    """Return what is asked for as the caller would write it."""

    def there(code: str) -> str:
        return tree.code(substituted(tree, cst.parse_expression(code), values)) if code else code

    def arguments(given: Sequence[cst.Arg]) -> list[cst.Arg]:
        return [each.with_changes(value=substituted(tree, each.value, values)) for each in given]

    return replace(
        asked,
        function=function,
        session=there(asked.session),
        query=there(asked.query) if asked.query is not None else None,
        root=arguments(asked.root),
        steps=[Step(each.name, arguments(each.args)) for each in asked.steps],
        gone=(),
        children=substituted(tree, asked.children, values) if asked.children is not None else None,
    )
