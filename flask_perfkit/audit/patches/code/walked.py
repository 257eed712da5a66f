"""What a loop walks: rows of a model, a range, or something that may have no end."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import libcst as cst
from libcst import matchers as m

from flask_perfkit.audit.patches.code.module import ModuleTree
from flask_perfkit.audit.patches.code.names import given_once, mapper_in, names_in, value_of

_RANGE = m.Call(func=m.Name("range"))
_FINITE = {"range", "enumerate", "zip", "sorted", "reversed", "list", "tuple", "set", "dict"}
_OF_FINITE = {
    *("all", "items", "keys", "values", "split", "splitlines", "scalars", "execute", "mappings"),
    *("order_by", "filter", "filter_by", "limit", "getlist"),
}
_NEVER_GIVE_NONE = {"str", "int", "float", "len", "round", "bool", "repr", "abs", "sum"}
_NEVER_NONE = (cst.FormattedString, cst.SimpleString, cst.Integer, cst.BinaryOperation)
_LISTS = m.Call(func=m.Attribute(attr=m.Name("all")), args=[]) | m.ListComp() | m.List()


class Walked:
    """What stands behind the ``in`` of a loop."""

    def __init__(self, tree: ModuleTree, node: cst.For | cst.CompFor, names: set[str]) -> None:
        self._tree = tree
        self._node = node
        self._names = names
        self._function = tree.function_of(node)

    @cached_property
    def model(self) -> Any:
        """The mapper of the objects that are walked; None where it is not sure."""
        if not isinstance(self._node.target, cst.Name):
            return None
        walked = self._begin()
        if isinstance(walked, cst.Attribute) and walked.attr.value == "query":
            return mapper_in(self._tree, walked.value, self._function)
        if isinstance(walked, cst.Call) and len(walked.args) == 1:
            name = self._tree.code(walked.func).rpartition(".")[2]
            if name in ("select", "query"):
                value = value_of(self._tree, walked.args[0].value, self._function)
                return getattr(value, "__mapper__", None) if isinstance(value, type) else None
        return None

    def _begin(self) -> Any:
        """Return what the select begins with whose rows are walked."""
        walked: Any = self._node.iter
        if isinstance(walked, cst.Name):
            walked = given_once(self._tree, walked.value, self._function)
        while m.matches(walked, m.Call(m.Attribute())):
            method = walked.func.attr.value
            if method == "scalars" and walked.args:
                walked = walked.args[0].value
                if isinstance(walked, cst.Name):
                    walked = given_once(self._tree, walked.value, self._function)
            elif method in ("select", "query", "execute", "mappings"):
                break
            else:
                walked = walked.func.value
        return walked

    def is_never_none(self, key: Any) -> bool:
        """Tell whether a key cannot be None."""
        if isinstance(key, _NEVER_NONE):
            return True
        if isinstance(key, cst.Call) and isinstance(key.func, cst.Name):
            return key.func.value in _NEVER_GIVE_NONE and self._tree.is_builtin(key.func)
        if isinstance(key, cst.Name):
            walked = value_of(self._tree, self._node.iter, self._function)
            return isinstance(walked, range) or m.matches(self._node.iter, _RANGE)
        mapper = self.model
        if mapper is None or not isinstance(key, cst.Attribute):
            return False
        attribute: Any = mapper.attrs.get(key.attr.value)
        columns: Any = getattr(attribute, "columns", ())
        return bool(columns) and not columns[0].nullable

    def are_distinct(self, key: Any) -> bool:
        """Tell whether no two turns have the same key."""
        if isinstance(key, cst.Name):
            walked = value_of(self._tree, self._node.iter, self._function)
            return isinstance(walked, range | set | frozenset) or m.matches(
                self._node.iter, m.Call(func=m.Name("range") | m.Name("set"))
            )
        mapper = self.model
        if mapper is None or not isinstance(key, cst.Attribute):
            return False
        return [each.key for each in mapper.primary_key] == [key.attr.value]

    def may_be_empty(self) -> bool:
        """Tell whether the loop may have no turn at all."""
        walked = value_of(self._tree, self._node.iter, self._function)
        if isinstance(walked, range | tuple):
            return not walked
        numbers = m.Call(m.Name("range"), [m.AtLeastN(m.Arg(m.Integer()), n=1)])
        if m.matches(self._node.iter, numbers):
            arguments = cst.ensure_type(self._node.iter, cst.Call).args
            return not range(*(int(self._tree.code(each.value)) for each in arguments))
        return not (isinstance(self._node.iter, cst.List | cst.Tuple) and self._node.iter.elements)

    def can_be_walked_again(self) -> bool:
        """Tell whether walking it once more gives the same."""
        node = self._node.iter
        if isinstance(node, cst.Name):
            given = given_once(self._tree, node.value, self._function)
            known = value_of(self._tree, node, self._function)
            return isinstance(known, list | tuple | range) or (
                given is not None and m.matches(given, _LISTS)
            )
        if isinstance(node, cst.List | cst.Tuple):
            return all(
                isinstance(each.value, cst.Integer | cst.SimpleString) for each in node.elements
            )
        return m.matches(node, _RANGE) and not names_in(node) & self._names - {"range"}

    def is_finite(self) -> bool:
        """Tell whether it comes to an end by itself."""
        return self._is_finite(self._node.iter)

    def _is_finite(self, node: cst.BaseExpression) -> bool:
        if isinstance(node, cst.List | cst.Tuple | cst.Set | cst.ListComp):
            return True
        if isinstance(node, cst.Name):
            given = given_once(self._tree, node.value, self._function)
            known = value_of(self._tree, node, self._function)
            finite = isinstance(known, list | tuple | range | set | frozenset | dict)
            return finite or (given is not None and self._is_finite(given))
        if not isinstance(node, cst.Call):
            return False
        name = self._tree.code(node.func).rpartition(".")[2]
        if isinstance(node.func, cst.Attribute):
            return name in _OF_FINITE
        return name in _FINITE and (
            name == "range" or all(self._is_finite(each.value) for each in node.args)
        )
