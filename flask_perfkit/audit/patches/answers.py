"""What one select for all keys brings, and where each turn finds its part of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import libcst as cst

from flask_perfkit.audit.patches.asked import Asked
from flask_perfkit.audit.patches.keys import Keyed, dialects
from flask_perfkit.audit.patches.module import ModuleTree
from flask_perfkit.audit.patches.names import column_of, value_of
from flask_perfkit.audit.patches.refusal import Refusal
from flask_perfkit.cures.loaders import Import

_SHORT = 80
_OUTER = "\n    "
_BREAK = "\n        "
_AGGREGATES = {"count", "sum", "min", "max", "avg"}
_NUMBERS_ROWS = {"sqlite", "postgresql"}
_NAMES = {"count": "counts", "sum": "sums", "min": "lowest", "max": "highest", "avg": "averages"}
_OF_ONE_ROW = {"extract", "lower", "upper", "length", "coalesce", "trim", "abs", "round", "date"}


@dataclass(frozen=True)
class Answer:
    """What makes the code of the select for all keys, and how its rows are kept.

    ``row`` is what a row is taken apart to, ``key`` and ``value`` what is kept of it. ``keeps`` is
    ``"each"``, ``"first"``, ``"all"``, ``"keys"`` or ``"single keys"``.
    ``leaves_alone`` are the tables that other rows may be added to meanwhile.
    """

    name: str
    select: Callable[[str, str], str]
    row: Sequence[str]
    key: str
    value: str
    keeps: str
    missing: str = ""
    before: Callable[[str], Sequence[str]] | None = None
    imports: Sequence[Import] = field(default=())
    leaves_alone: frozenset[str] = frozenset()

    @property
    def is_list(self) -> bool:
        """Whether each key has a list of its own."""
        return self.keeps == "all"

    def fetching(
        self, name: str, keys: str, new_name: Callable[[str], str], *, awaits: bool
    ) -> list[str]:
        """Return the statements that ask for all keys."""
        asked = _awaited(self.select(keys, ""), awaits)
        if len(asked) > _SHORT:
            asked = _awaited(self.select(keys, _BREAK), awaits)
        before = list(self.before(keys)) if self.before is not None else []
        if self.keeps == "keys":
            return [f"{name} = set({asked})"]
        if self.keeps == "single keys":
            return [f"{name} = {{key for (key,) in {asked}}}"]
        if self.keeps == "each":
            made = f"{self.key}: {self.value} for {', '.join(self.row)} in {asked}"
            if len(made) + len(name) < _SHORT:
                return [*before, f"{name} = {{{made}}}"]
            made = made.replace(
                f" for {', '.join(self.row)} in ", f"\n    for {', '.join(self.row)} in ", 1
            )
            return [*before, f"{name} = {{\n    {made}\n}}"]
        names = {each: new_name(each) for each in self.row}
        key = names.get(self.key) or self.key.replace("row.", f"{names.get('row')}.")
        value = names.get(self.value, self.value)
        kept = {
            "all": f"{name}.setdefault({key}, []).append({value})",
            "first": f"{name}.setdefault({key}, {value})",
        }[self.keeps]
        row = ", ".join(names[each] for each in self.row)
        return [*before, f"{name} = {{}}", f"for {row} in {asked}:\n    {kept}"]

    def found(self, name: str, key: str) -> str:
        """Return what stands where the statement was sent."""
        if self.keeps in ("keys", "single keys"):
            return f"{key} in {name}"
        return f"{name}.get({key}{f', {self.missing}' if self.missing else ''})"


def answer_of(tree: ModuleTree, asked: Asked, split: Keyed, new_name: Any) -> Answer:
    """Return what one select for all keys brings.

    :raises Refusal: it does not bring for each key what was asked for.
    """
    imports: list[Import] = [("sqlalchemy", "tuple_")] if len(split.keys) > 1 else []
    if asked.query is None and asked.select == "select":
        imports.append(("sqlalchemy", "select"))
    alone = _tables_left_alone(tree, asked, split)
    if asked.use == "exists":
        return _of_existence(tree, asked, split, imports, alone)
    if asked.use == "count":
        return _of_aggregate(asked, split, "func.count()", "count", "0", imports, alone)
    if len(asked.root) != 1 or asked.root[0].star:
        raise Refusal("several columns are selected")
    selected = asked.root[0].value
    aggregate = _aggregate(tree, selected)
    if aggregate is not None:
        if asked.use == "rows":
            raise Refusal("the value is used in another way than as one value")
        return _of_aggregate(asked, split, tree.code(selected), *aggregate, imports, alone)
    value = value_of(tree, selected, asked.function)
    is_entity = isinstance(value, type) and getattr(value, "__mapper__", None) is not None
    if not is_entity and not _is_of_one_row(tree, selected, asked):
        raise Refusal("it cannot be told that each row has a value of its own")
    keeps = _kept(asked, split)
    rows = _Rows(tree, asked, split, tree.code(selected), is_entity)
    limit = _limit(asked, split, keeps)
    if limit is not None:
        return rows.numbered(limit, keeps, imports, new_name)
    return rows.plain(keeps, imports, alone)


def _kept(asked: Asked, split: Keyed) -> str:
    if asked.use == "rows":
        return "all"
    if asked.use == "certain value":
        raise Refusal("a row that is missing is an error there")
    if split.is_unique:
        return "each"
    if asked.use == "only value":
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


@dataclass(frozen=True)
class _Rows:
    tree: ModuleTree
    asked: Asked
    split: Keyed
    selected: str
    is_entity: bool

    def plain(self, keeps: str, imports: list[Import], alone: frozenset[str]) -> Answer:
        """Return all rows of all keys."""
        own = [key.code.rpartition(".")[0] == self.selected for key in self.split.keys]
        name = f"{self._noun()}s_by_key" if keeps != "all" else "found"
        if self.is_entity and all(own):
            attributes = [f"row.{key.code.rpartition('.')[2]}" for key in self.split.keys]
            key = attributes[0] if len(attributes) == 1 else f"({', '.join(attributes)})"
            asking = _asking(self.asked, self.split, None)
            return Answer(
                name, asking, ["row"], key, "row", keeps, *_nothing(keeps), imports, alone
            )
        names = _key_names(self.split)
        asking = _asking(self.asked, self.split, f"{self.split.columns}, {self.selected}")
        key = names[0] if len(names) == 1 else f"({', '.join(names)})"
        row = [*names, "value"]
        return Answer(name, asking, row, key, "value", keeps, *_nothing(keeps), imports, alone)

    def numbered(self, limit: str, keeps: str, imports: list[Import], new_name: Any) -> Answer:
        """Return the first rows of each key, numbered by a window."""
        if not dialects() <= _NUMBERS_ROWS:
            raise Refusal("this database may not number the rows of each key")
        if len(self.split.keys) != 1 or self.asked.names & {"options", "distinct"}:
            raise Refusal("the first rows of each key have more to say")
        if "with_for_update" in self.asked.names:
            raise Refusal("numbered rows cannot be locked")
        (key,) = self.split.keys
        ranked, order = new_name("ranked"), _order(self.split)
        number = f"func.row_number().over(partition_by={key.code}, order_by={order})"
        selected = self.selected if self.is_entity else f'{self.selected}.label("value")'
        columns = [f'{key.code}.label("key")', selected, f'{number}.label("place")']
        of_rows = f",{_OUTER}    ".join(columns)
        session = self.asked.session or f"{self.asked.query}.session"
        source = self.asked.select
        first = new_name(f"first_{self._noun()}s") if self.is_entity else ""
        shown = f"{ranked}.c.key, {first or f'{ranked}.c.value'}"

        def before(keys: str) -> list[str]:
            steps = self.split.written(keys, _OUTER, without=frozenset({"order_by"}))
            statement = f"{source}({_OUTER}    {of_rows}{_OUTER}){steps}{_OUTER}.subquery()"
            lines = [f"{ranked} = ({_OUTER}{statement}\n)"]
            return [*lines, f"{first} = aliased({self.selected}, {ranked})"] if first else lines

        def asking(_keys: str, between: str) -> str:
            steps = (f".where({ranked}.c.place <= {limit})", f".order_by({ranked}.c.place)")
            statement = between.join((f"{source}({shown})", *steps))
            return f"{session}.execute({between}{statement}{between[:-4]})"

        imports = [*imports, ("sqlalchemy", "func"), ("sqlalchemy", "select")]
        imports += [("sqlalchemy.orm", "aliased")] if first else []
        return Answer(
            *("found", asking, ["key", "value"], "key", "value"),
            *("each" if keeps == "first" else keeps, _nothing(keeps)[0], before, imports),
        )

    def _noun(self) -> str:
        return self.selected.rpartition(".")[2].lower() if self.is_entity else "value"


def _of_existence(
    tree: ModuleTree, asked: Asked, split: Keyed, imports: list[Import], alone: frozenset[str]
) -> Answer:
    if asked.names & {"limit", "offset", "distinct"}:
        raise Refusal("what is looked for has more to say than conditions")
    tables = {key.column.table for key in split.keys}
    for each in asked.root:
        column = column_of(tree, each.value, asked.function)
        mapper = getattr(value_of(tree, each.value, asked.function), "__mapper__", None)
        found = mapper.tables if mapper is not None else [getattr(column, "table", None)]
        if not tables & set(found) and not isinstance(each.value, cst.Integer):
            raise Refusal("what is looked for is of another table than the key")
    if len(split.keys) > 1:
        raise Refusal("several columns tell what is looked for")
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
        raise Refusal("the value is worked out of rows that have more to say")
    if asked.use == "count":
        imports = [*imports, ("sqlalchemy", "func")]
    names = _key_names(split)
    asking = _asking(asked, split, f"{split.columns}, {selected}", grouped=True)
    key = names[0] if len(names) == 1 else f"({', '.join(names)})"
    return Answer(
        *(_NAMES[function], asking, [*names, "value"], key, "value", "each", missing),
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


def _awaited(asked: str, awaits: bool) -> str:
    return f"(await {asked})" if awaits else asked


def _codes(asked: Asked) -> str:
    return ", ".join(cst.Module([]).code_for_node(each.value) for each in asked.root)


def _nothing(keeps: str) -> tuple[str, None]:
    return ("()" if keeps == "all" else "", None)


def _key_names(split: Keyed) -> list[str]:
    if len(split.keys) == 1:
        return ["key"]
    return [f"key_{number}" for number in range(1, len(split.keys) + 1)]


def _order(split: Keyed) -> str:
    (order,) = [code for name, code in split.steps if name == "order_by"]
    inner = order.removeprefix(".order_by(").removesuffix(")")
    return f"[{inner}]" if "," in inner else inner


def _aggregate(tree: ModuleTree, node: cst.BaseExpression) -> tuple[str, str] | None:
    """Return the function that works one value out of rows, and the value of no rows."""
    if not isinstance(node, cst.Call) or not isinstance(node.func, cst.Attribute):
        return None
    name = node.func.attr.value
    if name == "label":
        return _aggregate(tree, node.func.value)
    if tree.code(node.func.value).rpartition(".")[2] != "func":
        return None
    if name == "coalesce" and len(node.args) == 2:
        inner = _aggregate(tree, node.args[0].value)
        default = node.args[1].value
        if inner is None:
            return None
        if not isinstance(default, cst.Integer | cst.Float | cst.SimpleString):
            raise Refusal("the value where there is no row is worked out by the database")
        return inner[0], tree.code(default) if inner[0] != "count" else "0"
    return (name, "0" if name == "count" else "") if name in _AGGREGATES else None


def _is_of_one_row(tree: ModuleTree, node: cst.BaseExpression, asked: Asked) -> bool:
    """Tell whether an expression is worked out of one row: a column, or a plain function of it."""
    if isinstance(node, cst.SimpleString | cst.Integer):
        return True
    if not isinstance(node, cst.Call):
        return column_of(tree, node, asked.function) is not None
    name = tree.code(node.func).rpartition(".")[2]
    if name == "label" and isinstance(node.func, cst.Attribute):
        return _is_of_one_row(tree, node.func.value, asked)
    return name in _OF_ONE_ROW and all(
        _is_of_one_row(tree, each.value, asked) for each in node.args
    )


def _tables_left_alone(tree: ModuleTree, asked: Asked, split: Keyed) -> frozenset[str]:
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
