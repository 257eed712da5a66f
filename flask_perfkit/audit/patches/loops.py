"""The loop that something stands in, and what can be done before or after it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import libcst as cst
from libcst import matchers as m

from flask_perfkit.audit.patches.module import ModuleTree
from flask_perfkit.audit.patches.refusal import Refusal

_SESSION_WRITES = {
    *("add", "add_all", "merge", "delete", "flush", "commit", "rollback", "refresh", "expire"),
    *("expire_all", "expunge", "expunge_all", "begin", "begin_nested", "bulk_save_objects"),
}
_COMPREHENSIONS = (cst.ListComp, cst.GeneratorExp, cst.SetComp, cst.DictComp)
_SIMPLE_KEYS = (
    *(cst.Name, cst.Attribute, cst.BinaryOperation, cst.Integer, cst.SimpleString, cst.Tuple),
    *(cst.FormattedString, cst.FormattedStringText, cst.FormattedStringExpression, cst.Subscript),
)


def names_in(node: cst.CSTNode) -> set[str]:
    """Return the variables that an expression reads; attributes of theirs are none."""
    found: set[str] = set()
    waiting: list[cst.CSTNode] = [node]
    while waiting:
        each = waiting.pop()
        if isinstance(each, cst.Name):
            found.add(each.value)
        elif isinstance(each, cst.Attribute | cst.Arg):
            waiting.append(each.value)
        else:
            waiting += each.children
    return found


class Loop:
    """A ``for`` statement or a comprehension with one ``for``."""

    def __init__(self, tree: ModuleTree, node: cst.For | cst.CompFor, holder: Any) -> None:
        self._tree = tree
        self.node = node
        self.body = holder
        self.names = names_in(node.target) | _assigned(tree, holder)
        self._items: str | None = None

    def check_reads(self, key: cst.BaseExpression) -> None:
        """See to it that the loop only reads, and that each key can be had before it.

        :raises Refusal: it may write, or a key is made in the loop.
        """
        targets = names_in(self.node.target)
        if names_in(key) & (self.names - targets):
            raise Refusal("the key is worked out inside of the loop")
        if not names_in(key) & targets:
            raise Refusal("the key does not come from the loop around")
        for each in self._tree.walk(key):
            if isinstance(each, cst.BaseExpression) and not isinstance(each, _SIMPLE_KEYS):
                raise Refusal("the key is worked out by calls")
            if isinstance(each, cst.Attribute) and not isinstance(each.value, cst.Name):
                raise Refusal("the key is an attribute of an attribute, which may not be there")
        if isinstance(self.node, cst.CompFor) and self.node.ifs:
            raise Refusal("the comprehension has a condition")
        self._check_writes()

    def _check_writes(self) -> None:
        function = self._tree.function_of(self.node)
        for each in self._tree.walk(function) if function is not None else ():
            if isinstance(each, cst.Yield):
                raise Refusal("the loop is in a generator, which may be left off early")
        for each in self._tree.walk(self.body):
            if isinstance(each, cst.Call) and isinstance(each.func, cst.Attribute):
                if each.func.attr.value in _SESSION_WRITES and not _is_of_list(each.func):
                    raise Refusal(
                        f"the loop calls .{each.func.attr.value}(), and may read what it writes"
                    )
            elif isinstance(each, cst.AssignTarget | cst.AugAssign):
                if isinstance(each.target, cst.Attribute):
                    raise Refusal("the loop changes objects, and may read what it writes")
            elif m.matches(each, m.Expr(value=m.Call(func=m.Name()))):
                raise Refusal("the loop calls a function for what it does, which may write")

    def all_of(self, key: str, *, is_last: bool = False) -> str:
        """Return a list of the keys of all turns, as code.

        :param is_last: the list takes the place of the loop, and nothing else walks the items.
        """
        target = self._tree.code(self.node.target)
        if key == target:
            return self._listed() if is_last else self.items()
        items = self._items or self._tree.code(self.node.iter) if is_last else self.items()
        return f"[{key} for {target} in {items}]"

    def replace(self, change: Callable[[Any], Any]) -> None:
        """Change the loop, a statement, and leave what was put before or behind it."""

        def changed(node: Any) -> Any:
            if not isinstance(node, cst.FlattenSentinel):
                return change(node)
            nodes: list[Any] = []
            for each in node.nodes:
                new = change(each) if isinstance(each, cst.For) else each
                nodes += new.nodes if isinstance(new, cst.FlattenSentinel) else [new]
            return cst.FlattenSentinel(nodes)

        self._tree.replace(self.node, changed)

    def items(self) -> str:
        """Return what is walked, as code that can be walked twice."""
        iterated = self.node.iter
        if self._items is None and self._can_be_walked_again(iterated):
            self._items = self._tree.code(iterated)
        elif self._items is None:
            made, self._items = self._listed(), self.new_name("items")
            self.insert_before([f"{self._items} = {made}"])
            name = cst.Name(self._items)
            self._tree.replace(iterated, lambda _: name)
        return self._items

    def _listed(self) -> str:
        """Return what is walked, made a list where it may be none, as code."""
        if self._items is not None:
            return self._items
        iterated = self.node.iter
        is_list = m.matches(iterated, m.Call(func=m.Attribute(attr=m.Name("all")), args=[]))
        code = self._tree.code(iterated)
        return code if is_list or self._can_be_walked_again(iterated) else f"list({code})"

    def _can_be_walked_again(self, node: cst.BaseExpression) -> bool:
        if isinstance(node, cst.Name):
            return isinstance(self._tree.value(node), list | tuple | range) or self._is_list(node)
        if isinstance(node, cst.List | cst.Tuple):
            return all(
                isinstance(each.value, cst.Integer | cst.SimpleString) for each in node.elements
            )
        if (
            isinstance(node, cst.Call)
            and isinstance(node.func, cst.Name)
            and node.func.value == "range"
        ):
            return all(isinstance(each.value, cst.Integer) for each in node.args)
        return False

    def _is_list(self, name: cst.Name) -> bool:
        """Tell whether a local variable is given a list, once."""
        function = self._tree.function_of(self.node)
        given = [
            each.value
            for each in self._tree.walk(function)
            if isinstance(each, cst.Assign)
            and m.matches(each.targets[0].target, m.Name(name.value))
        ]
        lists = m.Call(func=m.Attribute(attr=m.Name("all")), args=[]) | m.ListComp() | m.List()
        return function is not None and len(given) == 1 and m.matches(given[0], lists)

    def new_name(self, wish: str) -> str:
        """Return a name that nothing in the module has."""
        taken = {each.value for each in self._tree.walk() if isinstance(each, cst.Name)}
        taken |= self._tree.taken
        number, name = 1, wish
        while name in taken:
            number += 1
            name = f"{wish}_{number}"
        self._tree.taken.add(name)
        return name

    def insert_before(self, codes: Sequence[str]) -> None:
        """Put statements before the one that the loop stands in."""
        self._insert(codes, after=False)

    def insert_after(self, codes: Sequence[str]) -> None:
        """Put statements behind the one that the loop stands in."""
        self._insert(codes, after=True)

    def _insert(self, codes: Sequence[str], *, after: bool) -> None:
        statement = self._statement()
        new = [cst.parse_statement(code) for code in codes]

        def put(node: Any) -> cst.FlattenSentinel[Any]:
            nodes = list(node.nodes) if isinstance(node, cst.FlattenSentinel) else [node]
            return cst.FlattenSentinel([*nodes, *new] if after else [*nodes[:-1], *new, nodes[-1]])

        self._tree.replace(statement, put)

    def _statement(self) -> cst.CSTNode:
        for each in (self.node, *self._tree.ancestors(self.node)):
            if isinstance(self._tree.parent(each), cst.IndentedBlock | cst.Module):
                return each
        raise Refusal("the loop stands in no block")


def loop_around(tree: ModuleTree, node: cst.CSTNode) -> Loop:
    """Return the innermost loop around a node of its own function.

    :raises Refusal: there is none.
    """
    below = node
    for each in tree.ancestors(node):
        if isinstance(each, _COMPREHENSIONS):
            if each.for_in.inner_for_in is not None:
                raise Refusal("the comprehension has several loops")
            if below is not each.for_in:
                return _known(tree, each.for_in, each)
        elif isinstance(each, cst.For) and below is each.body:
            return _known(tree, each, each.body)
        elif isinstance(each, cst.FunctionDef | cst.Lambda | cst.While):
            break
        below = each
    raise Refusal("no loop over something known is around it in its function")


def _known(tree: ModuleTree, node: cst.For | cst.CompFor, body: Any) -> Loop:
    """Return the one loop of a node: what it walks is made a list once for all rewrites."""
    loop = tree.loops.get(node) or Loop(tree, node, body)
    tree.loops[node] = loop
    return cast(Loop, loop)


def _assigned(tree: ModuleTree, body: cst.CSTNode) -> set[str]:
    found: set[str] = set()
    for each in tree.walk(body):
        if isinstance(
            each, cst.AssignTarget | cst.AugAssign | cst.AnnAssign | cst.NamedExpr | cst.For
        ):
            found |= names_in(each.target)
        elif isinstance(each, cst.AsName):
            found |= names_in(each.name)
    return found


def _is_of_list(attribute: cst.Attribute) -> bool:
    """Tell whether a method is called on a plain local such as a set, and not on a session."""
    owner = attribute.value
    return (
        isinstance(owner, cst.Name)
        and "session" not in owner.value
        and owner.value not in ("db", "s")
    )
