"""One select for the keys of all turns, built from the one of a single turn."""

from __future__ import annotations

from collections.abc import Callable

import libcst as cst

from flask_perfkit.audit.patches.code.module import ModuleTree
from flask_perfkit.audit.patches.code.names import column_of, value_of
from flask_perfkit.audit.patches.code.refusal import Refusal
from flask_perfkit.audit.patches.reads.answers import Answer
from flask_perfkit.audit.patches.reads.asked import Asked
from flask_perfkit.audit.patches.reads.keys import Keyed
from flask_perfkit.audit.patches.reads.ranks import first_of_each
from flask_perfkit.audit.patches.reads.selected import (
    aggregate_of,
    is_of_one_row,
    tables_left_alone,
    told_by,
)
from flask_perfkit.cures.loaders import Import

_NAMES = {"count": "counts", "sum": "sums", "min": "lowest", "max": "highest", "avg": "averages"}


def answer_of(
    tree: ModuleTree, asked: Asked, split: Keyed, new_name: Callable[[str], str]
) -> Answer:
    """Return what one select for all keys brings.

    :raises Refusal: it does not bring for each key what was asked for.
    """
    imports: list[Import] = [("sqlalchemy", "tuple_")] if len(split.keys) > 1 else []
    if asked.query is None and asked.select == "select":
        imports.append(("sqlalchemy", "select"))
    alone = tables_left_alone(tree, asked, split)
    if asked.use == "exists":
        return _of_existence(tree, asked, split, imports, alone)
    if asked.use == "count":
        return _of_aggregate(asked, split, "func.count()", "count", "0", imports, alone)
    if len(asked.root) != 1 or asked.root[0].star:
        raise Refusal("several columns are selected")
    selected = asked.root[0].value
    aggregate = aggregate_of(tree, selected)
    if aggregate is not None:
        if asked.use == "rows":
            raise Refusal("the value is used in another way than as one value")
        return _of_aggregate(asked, split, tree.code(selected), *aggregate, imports, alone)
    value = value_of(tree, selected, asked.function)
    is_entity = isinstance(value, type) and getattr(value, "__mapper__", None) is not None
    if not is_entity and not is_of_one_row(tree, selected, asked):
        raise Refusal("it is not certain that each row has a value of its own")
    keeps = _kept(asked, split)
    of = tree.code(selected).rpartition(".")[2].lower() if is_entity else None
    limit = _limit(asked, split, keeps)
    code = tree.code(selected)
    if limit is not None:
        is_one = keeps == "first"
        return first_of_each(asked, split, code, new_name, of=of, limit=limit, is_one=is_one)
    return _of_rows(tree, asked, split, code, imports, of=of, keeps=keeps)


def _kept(asked: Asked, split: Keyed) -> str:
    if asked.use == "rows":
        return "all"
    if split.is_unique:
        return "each"
    if asked.use in ("only value", "certain value"):
        raise Refusal("a second row of one key is an error there")
    if "order_by" not in asked.names:
        raise Refusal("several rows may have one key, and nothing says which of them comes first")
    return "first"


def _limit(asked: Asked, split: Keyed, keeps: str) -> str | None:
    """Return how many rows of each key are wanted; None where there are no more anyway."""
    if keeps == "each":
        return None
    if keeps == "first":
        return "1" if split.limit is not None or asked.query is not None else None
    if split.limit is not None and "order_by" not in asked.names:
        raise Refusal("nothing says which rows come first")
    return split.limit


def _of_rows(
    tree: ModuleTree,
    asked: Asked,
    split: Keyed,
    selected: str,
    imports: list[Import],
    *,
    of: str | None,
    keeps: str,
) -> Answer:
    """Return all rows of all keys.

    :param of: the noun of the objects that are selected, if they are objects.
    """
    name = "found" if keeps == "all" else f"{of or 'value'}s_by_key"
    missing = "()" if keeps == "all" else ""
    if of is not None and all(key.code.rpartition(".")[0] == selected for key in split.keys):
        attributes = [f"row.{key.code.rpartition('.')[2]}" for key in split.keys]
        key, row, value, columns = _tuple(attributes), ["row"], "row", None
    else:
        names = _key_names(split)
        key, row, value = _tuple(names), [*names, "value"], "value"
        columns = f"{split.columns}, {selected}"
    return Answer(
        *(name, _asking(asked, split, columns), row, key, value, keeps, missing),
        imports=imports,
        leaves_alone=tables_left_alone(tree, asked, split),
        told_by=told_by(tree, asked) if of is not None else None,
        fails_without=asked.use == "certain value",
    )


def _tuple(codes: list[str]) -> str:
    return codes[0] if len(codes) == 1 else f"({', '.join(codes)})"


def _of_existence(
    tree: ModuleTree, asked: Asked, split: Keyed, imports: list[Import], alone: frozenset[str]
) -> Answer:
    if asked.names & {"limit", "offset", "distinct"}:
        raise Refusal("what is looked for has more to it than conditions")
    tables = {key.column.table for key in split.keys}
    for each in asked.root:
        column = column_of(tree, each.value, asked.function)
        mapper = getattr(value_of(tree, each.value, asked.function), "__mapper__", None)
        found = mapper.tables if mapper is not None else [getattr(column, "table", None)]
        if not tables & set(found) and not isinstance(each.value, cst.Integer):
            raise Refusal("what is looked for is of another table than the key")
    if len(split.keys) > 1:
        raise Refusal("several columns decide what is looked for")
    asking = _asking(asked, split, split.columns, distinct=True)
    keeps = "keys" if asked.query is None else "single keys"
    return Answer(
        "existing", asking, ["key"], "key", "key", keeps, imports=imports, leaves_alone=alone
    )


def _of_aggregate(
    asked: Asked,
    split: Keyed,
    selected: str,
    function: str,
    missing: str,
    imports: list[Import],
    alone: frozenset[str],
) -> Answer:
    if asked.names & {"order_by", "options", "limit", "distinct", "with_for_update"}:
        raise Refusal("the value is worked out of rows that have more to it")
    if asked.use == "count":
        imports = [*imports, ("sqlalchemy", "func")]
    names = _key_names(split)
    asking = _asking(asked, split, f"{split.columns}, {selected}", grouped=True)
    return Answer(
        *(_NAMES[function], asking, [*names, "value"], _tuple(names), "value", "each", missing),
        imports=imports,
        leaves_alone=alone,
    )


def _asking(
    asked: Asked,
    split: Keyed,
    columns: str | None,
    *,
    grouped: bool = False,
    distinct: bool = False,
) -> Callable[[str, str], str]:
    """Return what makes the code that sends the select for all keys.

    :param columns: what is selected, unless it is what was selected before.
    """
    more = f".group_by({split.columns})" if grouped else ".distinct()" if distinct else ""

    def asking(keys: str, between: str) -> str:
        steps = f"{split.written(keys, between)}{between if more else ''}{more}"
        if asked.query is None:
            method = "scalars" if distinct or columns is None else "execute"
            statement = f"{asked.select}({columns or _codes(asked)}){steps}"
            return f"{asked.session}.{method}({between}{statement}{between[:-4]})"
        steps = f"{split.written(keys)}{more}"
        if columns is None:
            return f"{asked.query}{steps}"
        if asked.session:
            return f"{asked.session}.query({columns}){steps}"
        if asked.names & {"join", "outerjoin"}:
            raise Refusal("the joins of the query begin at its model")
        return f"{asked.query}{steps}.with_entities({columns})"

    return asking


def _codes(asked: Asked) -> str:
    return ", ".join(cst.Module([]).code_for_node(each.value) for each in asked.root)


def _key_names(split: Keyed) -> list[str]:
    if len(split.keys) == 1:
        return ["key"]
    return [f"key_{number}" for number in range(1, len(split.keys) + 1)]
