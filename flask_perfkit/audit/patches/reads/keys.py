"""The conditions of a select that differ between iterations, and those that stay."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import libcst as cst
from sqlalchemy import Engine, types

from flask_perfkit.audit.patches.code.living import holders
from flask_perfkit.audit.patches.code.loops import Loop
from flask_perfkit.audit.patches.code.module import ModuleTree
from flask_perfkit.audit.patches.code.names import column_of, mapper_in, names_in
from flask_perfkit.audit.patches.code.refusal import Refusal
from flask_perfkit.audit.patches.code.steps import Step
from flask_perfkit.audit.patches.reads.asked import Asked
from flask_perfkit.audit.patches.reads.children import key_of_children
from flask_perfkit.cures.uniqueness import are_unique

KEYS = "__all_keys__"
_CONDITIONS = {"where", "filter", "filter_by"}
_STAY = {
    *("order_by", "options", "select_from", "join", "outerjoin", "distinct", "limit", "offset"),
    *("with_for_update", "execution_options", "prefix_with", "populate_existing"),
}
_EXACT = (
    *(types.Integer, types.String, types.Date, types.DateTime, types.Uuid, types.Enum),
    types.LargeBinary,
)
_FOLDS_TEXT = {"mysql", "mariadb", "mssql"}


@dataclass(frozen=True)
class Key:
    """A column, as code too, and what it is compared with in each turn."""

    code: str
    column: Any
    value: cst.BaseExpression


@dataclass(frozen=True)
class Keyed:
    """The keys of a select, and its other steps as code, with ``KEYS`` where the keys go.

    ``limit`` is the code of how many rows of each key are wanted. A key that ``may_be_none`` is
    found by == and not by IN.
    """

    keys: Sequence[Key]
    steps: Sequence[tuple[str, str]]
    limit: str | None = None
    may_be_none: bool = False

    @property
    def columns(self) -> str:
        """The code of the key as it is selected."""
        return ", ".join(key.code for key in self.keys)

    @property
    def compared(self) -> str:
        """The code of the key as it is compared."""
        return self.columns if len(self.keys) == 1 else f"tuple_({self.columns})"

    @property
    def is_unique(self) -> bool:
        """Whether at most one row has a key."""
        return are_unique([key.column for key in self.keys]) and not any(
            name in ("join", "outerjoin") for name, _ in self.steps
        )

    def value(self, tree: ModuleTree) -> str:
        """Return the code of the key in one turn."""
        values = [tree.code(key.value) for key in self.keys]
        return values[0] if len(values) == 1 else f"({', '.join(values)})"

    def written(self, keys: str, between: str = "", without: frozenset[str] = frozenset()) -> str:
        """Return the steps as code, with the keys put in, and something between them."""
        kept = [code for name, code in self.steps if name not in without]
        return "".join(f"{between}{code}" for code in kept).replace(KEYS, keys)


def keyed(tree: ModuleTree, asked: Asked, loop: Loop, *, in_python: bool = True) -> Keyed:
    """Take the conditions that differ out of a select.

    :param in_python: rows are found by their keys in a dictionary, and not by the database only.

    :raises Refusal: it does not come apart like that, or other rows would be found.
    """
    changing = loop.names
    if any(names_in(each.value) & changing for each in asked.root):
        raise Refusal("what is selected differs between iterations")
    split = _Split(tree, asked, changing)
    for step in asked.steps:
        split.take(step)
    if not split.keys:
        raise Refusal("no condition of the statement compares a column with what differs")
    may_be_none = any(
        key.column.nullable and not loop.walked.is_never_none(key.value) for key in split.keys
    )
    if may_be_none and (len(split.keys) > 1 or not in_python):
        raise Refusal("the compared column may be NULL, which == finds and IN does not")
    for key in split.keys if in_python else ():
        check_equal_in_python(key)
    return Keyed(split.keys, split.written(), split.limit, may_be_none)


class _Split:
    def __init__(self, tree: ModuleTree, asked: Asked, changing: set[str]) -> None:
        self._tree = tree
        self._asked = asked
        self._changing = changing
        self._parts: list[tuple[str, str]] = []
        self._has_joined = False
        self.keys: list[Key] = []
        self.limit: str | None = None

    def take(self, step: Step) -> None:
        """Go on to a further step of the select."""
        if step.name in _CONDITIONS:
            self._condition(step)
            return
        if step.name not in _STAY:
            raise Refusal(f"the statement has .{step.name}()")
        if any(names_in(each.value) & self._changing for each in step.args):
            raise Refusal(f"what .{step.name}() is given differs between iterations")
        code = ", ".join(map(self._code, step.args))
        if step.name == "limit":
            self.limit = code
        elif step.name == "offset":
            if code != "0":
                raise Refusal("the statement has .offset()")
        else:
            self._has_joined |= step.name in ("join", "outerjoin")
            self._parts.append((step.name, f".{step.name}({code})"))

    def written(self) -> list[tuple[str, str]]:
        """Return the steps that stay, and the comparison with all keys in the place of the rest."""
        columns = ", ".join(key.code for key in self.keys)
        compared = columns if len(self.keys) == 1 else f"tuple_({columns})"
        found = False
        parts = []
        for name, code in self._parts:
            if code != KEYS:
                parts.append((name, code))
            elif not found:
                found = True
                parts.append((name, f".{name}({compared}.in_({KEYS}))"))
        return parts

    def _condition(self, step: Step) -> None:
        stay = []
        keys = []
        for argument in self._all_of(step.args):
            if argument.star:
                raise Refusal("the statement's conditions are not all to be seen")
            if names_in(argument.value) & self._changing:
                keys.append(self._key(step.name, argument))
            else:
                stay.append(self._code(argument))
        if keys:
            self.keys += keys
            self._parts.append(("where" if self._asked.query is None else "filter", KEYS))
        if stay:
            self._parts.append((step.name, f".{step.name}({', '.join(stay)})"))

    def _all_of(self, arguments: Sequence[cst.Arg]) -> Iterator[cst.Arg]:
        for each in arguments:
            value = each.value
            if isinstance(value, cst.Call) and self._tree.code(value.func) == "and_":
                yield from self._all_of(value.args)
            else:
                yield each

    def _key(self, name: str, argument: cst.Arg) -> Key:
        if name == "filter_by":
            if self._has_joined or argument.keyword is None:
                raise Refusal("it is not clear which column filter_by() compares")
            return self._keyed(self._entity(argument.keyword), argument.value)
        value = argument.value
        if isinstance(value, cst.Comparison) and len(value.comparisons) == 1:
            (target,) = value.comparisons
            if isinstance(target.operator, cst.Equal):
                left, right = value.left, target.comparator
                if names_in(left) & self._changing:
                    left, right = right, left
                if not names_in(left) & self._changing:
                    return self._keyed(left, right)
        parent = self._parent(value)
        if parent is not None:
            return parent
        raise Refusal("what differs between iterations is not compared with one column by ==")

    def _keyed(self, column: cst.BaseExpression, value: cst.BaseExpression) -> Key:
        found = column_of(self._tree, column, self._asked.function)
        if found is None:
            raise Refusal(f"{self._tree.code(column)} is not known to be a column")
        return Key(self._tree.code(column), found, value)

    def _entity(self, keyword: cst.Name) -> cst.BaseExpression:
        """Return the attribute that a keyword of ``filter_by`` means."""
        inner = self._asked.root[0].value if self._asked.root else None
        while isinstance(inner, cst.Call):
            inner = inner.args[0].value if inner.args else None
        mapper = mapper_in(self._tree, inner, self._asked.function) if inner is not None else None
        if inner is None or mapper is None:
            inner = next(self._asked.arguments("select_from"), None)
        elif not isinstance(inner, cst.Name) and isinstance(inner, cst.Attribute):
            is_class = self._tree.value(inner) is mapper.class_
            inner = inner if is_class else inner.value
        if inner is None:
            raise Refusal("it is not clear which model filter_by() is about")
        return cst.Attribute(inner, keyword)

    def _parent(self, value: cst.BaseExpression) -> Key | None:
        """Return the key of ``with_parent(user, User.comments)``, a plain one-to-many."""
        if not isinstance(value, cst.Call) or self._tree.code(value.func) != "with_parent":
            return None
        if len(value.args) != 2 or not isinstance(value.args[1].value, cst.Attribute):
            return None
        attribute: Any = value.args[1].value
        owner = mapper_in(self._tree, attribute.value, self._asked.function)
        relationship: Any = owner.relationships.get(attribute.attr.value) if owner else None
        pair = key_of_children(relationship)
        if pair is None:
            return None
        local, remote, column = pair
        target = relationship.mapper.class_
        if self._tree.value(cst.Name(target.__name__)) is not target:
            return None
        parent = cst.Attribute(value.args[0].value, cst.Name(local))
        return Key(f"{target.__name__}.{remote}", column, parent)

    def _code(self, argument: cst.Arg) -> str:
        return self._tree.code(argument).strip().rstrip(",")


def check_equal_in_python(key: Key) -> None:
    """See to it that a key is found in a dictionary where the database finds it.

    :raises Refusal: it may not be.
    """
    kind = key.column.type
    if isinstance(kind, types.TypeDecorator) or not isinstance(kind, _EXACT):
        raise Refusal(f"values of {key.code} may be equal for the database and not for Python")
    if isinstance(kind, types.String) and (kind.collation or dialects() & _FOLDS_TEXT):
        raise Refusal(f"the database may find {key.code} in other cases than it is written in")


def dialects() -> set[str]:
    """Return the names of the databases that this process talks to."""
    return {each.dialect.name for each in holders(Engine) if type(each) is Engine}
