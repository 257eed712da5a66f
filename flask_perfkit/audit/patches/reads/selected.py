"""What a select brings and what it reads: of one row or of many, and of which tables."""

from __future__ import annotations

import libcst as cst

from flask_perfkit.audit.patches.code.module import ModuleTree
from flask_perfkit.audit.patches.code.names import column_of
from flask_perfkit.audit.patches.code.refusal import Refusal
from flask_perfkit.audit.patches.reads.asked import Asked
from flask_perfkit.audit.patches.reads.keys import Keyed

_AGGREGATES = {"count", "sum", "min", "max", "avg"}
_OF_ONE_ROW = {"extract", "lower", "upper", "length", "coalesce", "trim", "abs", "round", "date"}


def aggregate_of(tree: ModuleTree, node: cst.BaseExpression) -> tuple[str, str] | None:
    """Return the function that works one value out of rows, and the value of no rows."""
    if not isinstance(node, cst.Call) or not isinstance(node.func, cst.Attribute):
        return None
    name = node.func.attr.value
    if name == "label":
        return aggregate_of(tree, node.func.value)
    if tree.code(node.func.value).rpartition(".")[2] != "func":
        return None
    if name == "coalesce" and len(node.args) == 2:
        inner = aggregate_of(tree, node.args[0].value)
        default = node.args[1].value
        if inner is None:
            return None
        if isinstance(default, cst.UnaryOperation):
            default = default.expression
        if not isinstance(default, cst.Integer | cst.Float | cst.SimpleString):
            raise Refusal("the value where there is no row is worked out by the database")
        return inner[0], tree.code(node.args[1].value) if inner[0] != "count" else "0"
    return (name, "0" if name == "count" else "") if name in _AGGREGATES else None


def is_of_one_row(tree: ModuleTree, node: cst.BaseExpression, asked: Asked) -> bool:
    """Tell whether an expression is worked out of one row: a column, or a plain function of it."""
    if isinstance(node, cst.SimpleString | cst.Integer):
        return True
    if not isinstance(node, cst.Call):
        return column_of(tree, node, asked.function) is not None
    name = tree.code(node.func).rpartition(".")[2]
    if name == "label" and isinstance(node.func, cst.Attribute):
        return is_of_one_row(tree, node.func.value, asked)
    return name in _OF_ONE_ROW and all(is_of_one_row(tree, each.value, asked) for each in node.args)


def tables_left_alone(tree: ModuleTree, asked: Asked, split: Keyed) -> frozenset[str]:
    """Return the mapped tables that a select does not read; none where that is not sure."""
    if asked.names - {"where", "filter", "filter_by", "order_by", "limit"}:
        return frozenset()
    mapper = asked.entity(tree)
    conditions = [argument.value for step in asked.steps for argument in step.args]
    if mapper is None or any(
        isinstance(each, cst.Call) for node in conditions for each in tree.walk(node)
    ):
        return frozenset()
    read = {key.column.table for key in split.keys} | set(mapper.tables)
    for node in conditions:
        for each in tree.walk(node):
            table = getattr(column_of(tree, each, asked.function), "table", None)
            read |= {table} if table is not None else set()
    if any(each.lazy in ("joined", "selectin", "subquery") for each in mapper.relationships):
        return frozenset()
    return frozenset(
        str(table) for each in mapper.registry.mappers for table in each.tables if table not in read
    )


def told_by(tree: ModuleTree, asked: Asked) -> frozenset[str] | None:
    """Return the attributes that a select names beside what it brings; None where it reads more."""
    if asked.names - {"where", "filter", "filter_by", "order_by", "limit"}:
        return None
    arguments = [argument for step in asked.steps for argument in step.args]
    named = {each.keyword.value for each in arguments if each.keyword is not None}
    for argument in arguments:
        for each in tree.walk(argument.value):
            named |= {each.attr.value} if isinstance(each, cst.Attribute) else set()
    return frozenset(named)
