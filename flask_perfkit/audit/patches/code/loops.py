"""The loop that something stands in, and what can be done before or after it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Any, cast

import libcst as cst
from libcst import matchers as m
from sqlalchemy.orm import Session

from flask_perfkit.audit.patches.code.effects import (
    changed_in,
    check_not_changed,
    check_only_reads,
)
from flask_perfkit.audit.patches.code.module import ModuleTree
from flask_perfkit.audit.patches.code.names import (
    bound_in,
    names_in,
    value_of,
)
from flask_perfkit.audit.patches.code.refusal import Refusal
from flask_perfkit.audit.patches.code.steps import statement_of
from flask_perfkit.audit.patches.code.walked import Walked

_COMPREHENSIONS = (cst.ListComp, cst.GeneratorExp, cst.SetComp, cst.DictComp)
_SIMPLE_KEYS = (
    *(cst.Name, cst.Attribute, cst.BinaryOperation, cst.Integer, cst.SimpleString, cst.Tuple),
    *(cst.FormattedString, cst.FormattedStringText, cst.FormattedStringExpression, cst.Subscript),
)
_MAKES_KEYS = {"str", "int"}
_OF_TEXT = {"strip", "lstrip", "rstrip", "lower", "upper", "title", "replace"}
_CONDITIONAL = (cst.If, cst.IfExp, cst.BooleanOperation, cst.Try, cst.While, cst.Match)
_LISTS = m.Call(func=m.Attribute(attr=m.Name("all")), args=[]) | m.ListComp() | m.List()
_LEAVES = cst.Break | cst.Continue | cst.Return | cst.Yield | cst.Try | cst.TryStar


class Loop:
    """A ``for`` statement or a comprehension with one ``for``."""

    def __init__(self, tree: ModuleTree, node: cst.For | cst.CompFor, holder: Any) -> None:
        self._tree = tree
        self.node = node
        self.body = holder
        self.targets = names_in(node.target)
        self.names = self.targets | bound_in(tree, holder)
        self.walked = Walked(tree, node, self.names)
        self._items: str | None = None

    @property
    def function(self) -> cst.FunctionDef | None:
        """The function that it is in."""
        return self._tree.function_of(self.node)

    def check_keys(self, at: cst.CSTNode, keys: Sequence[cst.BaseExpression]) -> None:
        """See to it that each key can be had before the loop.

        :param at: what asks for them in each turn.
        :raises Refusal: one is made in the loop, or may not be there.
        """
        for key in keys:
            self._check_key(at, key)
        if not any(names_in(key) & self.targets for key in keys):
            raise Refusal("the key does not come from the loop around")
        if isinstance(self.node, cst.CompFor) and self.node.ifs:
            raise Refusal("the comprehension has a condition")
        if self.node.asynchronous is not None:
            raise Refusal("the loop waits for what it walks")
        if self.is_left_early() and not self.walked.is_finite():
            raise Refusal("the loop is left early, and what it walks may have no end")

    def _check_key(self, at: cst.CSTNode, key: cst.BaseExpression) -> None:
        is_statement = isinstance(self.node, cst.For)
        inside = bound_in(self._tree, self.body) if is_statement else self.names - self.targets
        if names_in(key) & (inside | changed_in(self._tree, self.body)):
            raise Refusal("the key is worked out inside of the loop")
        calls = [each for each in self._tree.walk(key) if isinstance(each, cst.Call)]
        for call in calls:
            self._check_call(at, call)
        methods = {call.func for call in calls}
        for each in self._tree.walk(key):
            if isinstance(each, cst.Call) or each in methods:
                continue
            if isinstance(each, cst.BaseExpression) and not isinstance(each, _SIMPLE_KEYS):
                raise Refusal("the key is worked out in an unusual way")
            if isinstance(each, cst.Attribute) and not isinstance(each.value, cst.Name):
                raise Refusal("the key is an attribute of an attribute, which may not be there")
            may_be_missing = isinstance(each, cst.Attribute | cst.Subscript)
            if may_be_missing and self._is_conditional(at) and self.walked.model is None:
                raise Refusal("only some iterations query, and the others may have no key")

    def _check_call(self, at: cst.CSTNode, call: cst.Call) -> None:
        """See to it that a call gives the same before the loop, and that no one minds if it fails.

        :raises Refusal: it may not, or somebody may.
        """
        func = call.func
        is_plain = False
        if isinstance(func, cst.Name):
            is_plain = self._tree.is_builtin(func) and func.value in _MAKES_KEYS
        elif isinstance(func, cst.Attribute):
            name = func.attr.value
            is_plain = name in _OF_TEXT and not self._tree.methods[name]
        known = [value_of(self._tree, each, self.function) for each in self._tree.walk(func)]
        if not is_plain or any(type(each).__module__.startswith("sqlalchemy") for each in known):
            raise Refusal("the key is worked out by calls")
        if self._is_conditional(at) or any(
            isinstance(each, cst.Try | cst.TryStar) for each in self._tree.ancestors(at)
        ):
            raise Refusal("the key is worked out by what may fail, and not in each iteration")

    def check_reads(
        self,
        gone: Sequence[cst.CSTNode],
        besides: frozenset[str] = frozenset(),
        told_by: frozenset[str] | None = None,
        *,
        session: str,
    ) -> None:
        """See to it that the loop does not write what it reads.

        :param gone: the parts of it that a patch replaces, or has seen to.
        :param besides: tables that it may add rows to.
        :param told_by: the attributes that tell which rows are read, if others may change.
        :param session: the code of what reads them.
        :raises Refusal: it may.
        """
        function = self.function
        for each in self._tree.walk(function) if function is not None else ():
            if isinstance(each, cst.Yield) and self._tree.function_of(each) is function:
                self._check_own(session)
        check_only_reads(self._tree, self.body, gone, besides=besides, told_by=told_by)
        check_not_changed(self._tree, self.body, self.node.iter)

    def _check_own(self, session: str) -> None:
        """See to it that nobody writes through a generator's session while it waits to go on.

        :raises Refusal: somebody may, or what is read has no end.
        """
        named = m.WithItem(m.Call(), m.AsName(m.Name(session)))
        for unit in self._tree.ancestors(self.node):
            items: list[Any] = list(unit.items) if isinstance(unit, cst.With) else []
            for each in (item for item in items if m.matches(item, named)):
                kind = value_of(self._tree, each.item.func, self.function)
                is_session = isinstance(kind, type) and issubclass(kind, _sessions())
                if is_session and self.walked.is_finite():
                    return
        raise Refusal("the loop is in a generator, which may be left off early")

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
        if self._items is None and self.walked.can_be_walked_again():
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
        code = self._tree.code(iterated)
        return (
            code
            if m.matches(iterated, _LISTS) or self.walked.can_be_walked_again()
            else f"list({code})"
        )

    def is_left_early(self) -> bool:
        """Tell whether the loop may end before all turns were taken."""
        return any(
            isinstance(each, cst.Break | cst.Return | cst.Raise)
            for each in self._tree.walk(self.body)
        )

    def _is_conditional(self, at: cst.CSTNode) -> bool:
        """Tell whether something is not reached in each turn."""
        below = at
        for each in self._tree.ancestors(at):
            if each is self.body:
                break
            is_test = isinstance(each, cst.If | cst.IfExp) and each.test is below
            if isinstance(each, _CONDITIONAL) and not is_test:
                return True
            below = each
        before = takewhile(lambda each: each is not at, self._tree.walk(self.body))
        return any(isinstance(each, cst.Continue) for each in before)

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
        """Put statements before the one that the loop stands in.

        :raises Refusal: what they read may not be there yet, or may differ later.
        """
        statement = statement_of(self._tree, self.node)
        for each in self._tree.ancestors(self.node):
            if each is statement:
                break
            if isinstance(each, cst.Lambda) or (
                isinstance(each, _COMPREHENSIONS) and each is not self.body
            ):
                raise Refusal("the loop is a part of another one")
        if isinstance(statement, cst.While):
            raise Refusal("the loop is a part of another one")
        new = [cst.parse_statement(code) for code in codes]

        def put(node: Any) -> cst.FlattenSentinel[Any]:
            nodes = list(node.nodes) if isinstance(node, cst.FlattenSentinel) else [node]
            return cst.FlattenSentinel([*nodes[:-1], *new, nodes[-1]])

        self._tree.replace(statement, put)


def _sessions() -> tuple[type, ...]:
    """Return SQLAlchemy's sessions; those of asyncio only where the process has loaded them."""
    loaded = sys.modules.get("sqlalchemy.ext.asyncio")
    return (Session,) if loaded is None else (Session, loaded.AsyncSession)


def loop_around(tree: ModuleTree, node: cst.CSTNode) -> Loop:
    """Return the innermost loop around a node of its own function.

    :raises Refusal: there is none.
    """
    found = innermost_loop(tree, node)
    if found is None:
        raise Refusal("no loop over something known is around it in its function")
    return found


def innermost_loop(tree: ModuleTree, node: cst.CSTNode) -> Loop | None:
    """Return the innermost loop around a node of its own function; None where there is none.

    :raises Refusal: the loop is of a kind that cannot be followed.
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
        elif isinstance(each, cst.While):
            raise Refusal("no loop over something known is around it in its function")
        elif isinstance(each, cst.FunctionDef | cst.Lambda):
            break
        below = each
    return None


def plain_loop(tree: ModuleTree, node: cst.CSTNode) -> Loop:
    """Return the ``for`` statement around, which walks to its end.

    :raises Refusal: it is left early, or what it does may fail and go on.
    """
    loop = loop_around(tree, node)
    if not isinstance(loop.node, cst.For) or loop.node.orelse is not None:
        raise Refusal("the loop is no plain for statement")
    if not isinstance(loop.body, cst.IndentedBlock):
        raise Refusal("the loop stands in one line with what it does")
    for each in tree.walk(loop.body):
        if isinstance(each, _LEAVES):
            raise Refusal("the loop is left early, or goes on after an error")
    return loop


def _known(tree: ModuleTree, node: cst.For | cst.CompFor, body: Any) -> Loop:
    """Return the one loop of a node: what it walks is made a list once for all rewrites."""
    loop = tree.loops.get(node) or Loop(tree, node, body)
    tree.loops[node] = loop
    return cast(Loop, loop)
