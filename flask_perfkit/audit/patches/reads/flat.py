"""A value worked out of a select that stands in another one, written as one select."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import libcst as cst
from libcst import matchers as m

from flask_perfkit.audit.patches.code.module import ModuleTree
from flask_perfkit.audit.patches.code.names import column_of, value_of
from flask_perfkit.audit.patches.code.steps import Step, chain_of
from flask_perfkit.audit.patches.reads.asked import Asked

_KEEPS_ROWS = {"where", "filter", "filter_by"}
_COUNTS_ROWS = m.Call(m.Attribute(m.Name("func"), m.Name("count")), args=[])
_COLUMN = m.Attribute(value=m.Attribute(value=m.Call(), attr=m.Name("c")))


class _Inner(NamedTuple):
    """A select of one model's rows, or columns of them, that only has conditions."""

    selected: tuple[cst.BaseExpression, ...]
    model: cst.BaseExpression
    steps: list[Step]


def flattened(tree: ModuleTree, asked: Asked) -> Asked | None:
    """Return a count of a subquery's rows, or what is worked out of its columns, without it."""
    if len(asked.root) != 1:
        return None
    root = asked.root[0]
    if [step.name for step in asked.steps] == ["select_from"] and len(asked.steps[0].args) == 1:
        inner = _inner(tree, asked, asked.steps[0].args[0].value)
        return _joined(asked, root, inner) if m.matches(root.value, _COUNTS_ROWS) else None
    columns: list[Any] = list(m.findall(root.value, _COLUMN))
    sources = {tree.code(each.value.value): each.value.value for each in columns}
    if asked.steps or len(sources) != 1:
        return None
    inner = _inner(tree, asked, *sources.values())
    if inner is None:
        return None
    found = {id(each): _column(tree, asked, inner, each.attr.value) for each in columns}
    if None in found.values():
        return None
    value = root.value.visit(_Replacing(found))
    return _joined(asked, root.with_changes(value=value), inner)


def _joined(asked: Asked, root: cst.Arg, inner: _Inner | None) -> Asked | None:
    if inner is None:
        return None
    return replace(
        asked, root=[root], steps=[Step("select_from", [cst.Arg(inner.model)]), *inner.steps]
    )


def _inner(tree: ModuleTree, asked: Asked, node: cst.BaseExpression) -> _Inner | None:
    begin, steps = chain_of(
        node, lambda each: isinstance(each, cst.Call) and tree.code(each.func) == asked.select
    )
    names = [step.name for step in steps]
    if not isinstance(begin, cst.Call) or not names or names[-1] not in ("subquery", "cte"):
        return None
    selected = tuple(each.value for each in begin.args)
    models = [_model(tree, asked, each) for each in selected]
    if not set(names[:-1]) <= _KEEPS_ROWS or None in models:
        return None
    if len({tree.code(each) for each in models}) != 1:
        return None
    return _Inner(selected, models[0], steps[:-1])


def _model(tree: ModuleTree, asked: Asked, selected: cst.BaseExpression) -> Any:
    if isinstance(value_of(tree, selected, asked.function), type):
        return selected
    is_column = column_of(tree, selected, asked.function) is not None
    return selected.value if is_column and isinstance(selected, cst.Attribute) else None


def _column(tree: ModuleTree, asked: Asked, inner: _Inner, name: str) -> Any:
    """Return the model's column that a subquery shows by a name."""
    for each in inner.selected:
        column: Any = cst.Attribute(each, cst.Name(name)) if each is inner.model else each
        known = column_of(tree, column, asked.function)
        if known is not None and column.attr.value == name == known.name:
            return column
    return None


class _Replacing(cst.CSTTransformer):
    def __init__(self, found: dict[int, Any]) -> None:
        super().__init__()
        self._found = found

    def on_leave(self, original_node: Any, updated_node: Any) -> Any:
        return self._found.get(id(original_node), updated_node)
