"""One UPDATE of many rows, where each gets a value of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import libcst as cst
from sqlalchemy import types

from flask_perfkit.audit.patches.code.loops import Loop
from flask_perfkit.audit.patches.code.module import ModuleTree
from flask_perfkit.audit.patches.code.names import names_in
from flask_perfkit.audit.patches.code.plain import check_plain
from flask_perfkit.audit.patches.code.refusal import Refusal
from flask_perfkit.audit.patches.reads.keys import Keyed, check_equal_in_python

_SIMPLE = (types.Integer, types.String, types.Numeric, types.Date, types.DateTime)

Pair = tuple[str, cst.BaseExpression]
"""A column's attribute and its value."""


class ByCase(NamedTuple):
    """Dictionaries of what each key gets, and values that choose from them.

    ``lines`` make the dictionaries; ``keys`` is the code of the keys, ``values`` that of each
    column's value.
    """

    lines: Sequence[str]
    keys: str
    values: dict[str, str]


def by_case(tree: ModuleTree, loop: Loop, split: Keyed, pairs: Sequence[Pair]) -> ByCase:
    """Let the database choose each row's value by its key; the last one of a key counts.

    :raises Refusal: a value may be none of the column's kind.
    """
    if len(split.keys) != 1:
        raise Refusal("each row gets other values, and several columns identify it")
    (key,) = split.keys
    check_equal_in_python(key)
    lines, values, first = [], {}, ""
    for name, value in pairs:
        if not names_in(value) & loop.names:
            values[name] = tree.code(value)
            continue
        check_plain(tree, loop, value)
        column = key.column.table.columns.get(name)
        if (
            column is None
            or not isinstance(column.type, _SIMPLE)
            or not loop.walked.is_never_none(value)
        ):
            raise Refusal("each row gets other values, and one of them may be None")
        chosen = loop.new_name(f"{name}_by_key")
        items = loop.items()
        target, made = tree.code(loop.node.target), f"{tree.code(key.value)}: {tree.code(value)}"
        lines.append(f"{chosen} = {{{made} for {target} in {items}}}")
        values[name] = f"case({chosen}, value={key.code})"
        first = first or chosen
    tree.need([("sqlalchemy", "case")])
    return ByCase(lines, first, values)
