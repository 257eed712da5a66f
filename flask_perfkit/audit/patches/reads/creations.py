"""Rows that a turn adds where it finds none: what later turns find, where all is asked for before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import libcst as cst
from libcst import matchers as m
from sqlalchemy.orm import Mapper, scoped_session

from flask_perfkit.audit.patches.code.loops import Loop
from flask_perfkit.audit.patches.code.module import ModuleTree
from flask_perfkit.audit.patches.code.names import mapper_in, value_of
from flask_perfkit.audit.patches.code.refusal import Refusal
from flask_perfkit.audit.patches.code.rows import is_row_alone
from flask_perfkit.audit.patches.code.steps import statement_of, written_out
from flask_perfkit.audit.patches.reads.asked import Asked
from flask_perfkit.audit.patches.reads.helpers import Place
from flask_perfkit.audit.patches.reads.keys import Keyed

_ADDS = m.SimpleStatementLine(
    [m.Expr(m.Call(m.Attribute(attr=m.Name("add")), [m.Arg(m.Name() | m.Call(), keyword=None)]))]
)
_FLUSHES = m.SimpleStatementLine([m.Expr(m.Call(m.Attribute(attr=m.Name("flush")), []))])
_GIVES = m.SimpleStatementLine([m.Assign([m.AssignTarget(m.Name())], m.Call())])
_TAKES = m.SimpleStatementLine([m.Assign([m.AssignTarget(m.Name())])])
_WITHOUT_FLUSH = m.Attribute(attr=m.Name("no_autoflush") | m.Name("autoflush"))
_COMMITS = m.Attribute(attr=m.Name("commit") | m.Name("flush"))


class Creation(NamedTuple):
    """What a turn adds where it finds nothing.

    ``tested`` is the expression that says that nothing was found. ``writes`` are the calls that add
    a row and maybe flush it, ``line`` the last of their lines; ``variable`` is what was found or is
    added, None where nobody asks for it.
    """

    tested: cst.BaseExpression
    line: cst.SimpleStatementLine
    writes: Sequence[cst.Call]
    variable: str | None

    def kept(self, name: str, key: str) -> str:
        """Return the code that lets later turns find what was added."""
        return f"{name}.add({key})" if self.variable is None else f"{name}[{key}] = {self.variable}"


def creation_in(
    tree: ModuleTree, place: Place, asked: Asked, split: Keyed, loop: Loop
) -> Creation | None:
    """Return what a turn adds where it finds nothing; None where it adds no such rows.

    :raises Refusal: it is not sure that later turns find the same as before.
    """
    found = _branch(tree, place) if place.is_bare and isinstance(loop.node, cst.For) else None
    if found is None:
        return None
    test, branch, variable = found
    lines: list[Any] = list(cst.ensure_type(branch.body, cst.IndentedBlock).body)
    last = lines[-1]
    flushes = [lines.pop().body[0].value] if len(lines) > 1 and m.matches(last, _FLUSHES) else []
    if len(lines) != (1 if variable is None else 2) or not m.matches(lines[-1], _ADDS):
        return None
    adds = lines[-1].body[0].value
    made = adds.args[0].value
    if variable is not None:
        if not m.matches(lines[0], _GIVES) or not m.matches(made, m.Name(variable)):
            return None
        if lines[0].body[0].targets[0].target.value != variable:
            return None
        made = lines[0].body[0].value
    mapper = mapper_in(tree, made.func, loop.function) if isinstance(made, cst.Call) else None
    if mapper is None or {key.column.table for key in split.keys} != {mapper.local_table}:
        return None
    creation = Creation(test, last, [adds, *flushes], variable)
    _check_found(tree, asked, split, mapper, variable)
    _check_made(tree, mapper, made, split, branch, loop)
    _check_flushed(tree, adds.func.value, asked, mapper, loop)
    if variable is not None and not flushes:
        _check_uses(tree, creation, made, loop)
    return creation


def _branch(tree: ModuleTree, place: Place) -> tuple[cst.BaseExpression, cst.If, str | None] | None:
    """Return the test that nothing was found, what follows, and what the answer is called."""
    statement = statement_of(tree, place.node)
    if isinstance(statement, cst.If):
        is_tested = _says_nothing(statement.test, lambda node: node is place.node)
        return (statement.test, statement, None) if is_tested else None
    above = tree.parent(place.node)
    if not isinstance(above, cst.Assign) or not m.matches(statement, _TAKES):
        return None
    variable = cst.ensure_type(above.targets[0].target, cst.Name).value
    block: Any = tree.parent(statement)
    following = list(block.body)[list(block.body).index(statement) + 1 :]
    if following and isinstance(following[0], cst.If):
        test = following[0].test
        if _says_nothing(test, lambda node: m.matches(node, m.Name(variable))):
            return test, following[0], variable
    return None


def _says_nothing(test: cst.BaseExpression, is_answer: Any) -> bool:
    """Tell whether a test is ``not answer`` or ``answer is None``."""
    answer = m.MatchIfTrue(is_answer)
    is_none = m.Comparison(answer, [m.ComparisonTarget(m.Is(), m.Name("None"))])
    return m.matches(test, m.UnaryOperation(m.Not(), answer) | is_none)


def _check_found(
    tree: ModuleTree, asked: Asked, split: Keyed, mapper: Mapper[Any], variable: str | None
) -> None:
    """See to it that an object says that it was found, and that each key has one at most."""
    selected = value_of(tree, asked.root[0].value, asked.function) if asked.root else None
    is_object = len(asked.root) == 1 and selected is mapper.class_
    if asked.use == "exists" and variable is None:
        return
    if not is_object or asked.use not in ("value", "only value"):
        raise Refusal("the loop adds rows of what it looks for")
    if any(hasattr(mapper.class_, name) for name in ("__bool__", "__len__")):
        raise Refusal("an object that is found may count as none")
    if (variable is not None or asked.use == "only value") and not split.is_unique:
        raise Refusal("several rows may have one key, and nothing says which of them comes first")


def _check_made(
    tree: ModuleTree, mapper: Mapper[Any], made: cst.Call, split: Keyed, branch: cst.If, loop: Loop
) -> None:
    """See to it that a row that is added has the key that was looked for, which is all of it."""
    given = _given(made)
    same = True
    for key in split.keys:
        value = given.get(mapper.get_property_by_column(key.column).key)
        if value is not None:
            value, _ = written_out(tree, value, branch, loop.body)
        same = same and value is not None and tree.code(value) == tree.code(key.value)
    if not same or len(split.steps) != 1 or not is_row_alone(mapper, made):
        raise Refusal("the loop adds rows of what it looks for, and they may have another key")


def _check_flushed(
    tree: ModuleTree, session: cst.BaseExpression, asked: Asked, mapper: Mapper[Any], loop: Loop
) -> None:
    """See to it that the look-up would have found what was added before, and no error stays."""
    value = value_of(tree, session, loop.function)
    of_model = getattr(getattr(mapper.class_, "__fsa__", None), "session", None)
    is_same = tree.code(session) == asked.session or (not asked.session and value is of_model)
    if not is_same or not isinstance(value, scoped_session):
        raise Refusal("it cannot be told whether what is added is found by later turns")
    factory: Any = value.session_factory
    function = loop.function
    if not getattr(factory, "kw", {}).get("autoflush", True) or (
        function is not None and m.findall(function, _WITHOUT_FLUSH)
    ):
        raise Refusal("what is added is not flushed before later turns look")
    for each in tree.ancestors(loop.node):
        if isinstance(each, cst.Try) and not m.findall(each.body, _COMMITS):
            raise Refusal("a row that is added may fail, and later than before")


def _given(made: cst.Call) -> dict[str, cst.BaseExpression]:
    return {each.keyword.value: each.value for each in made.args if each.keyword is not None}


def _check_uses(tree: ModuleTree, creation: Creation, made: cst.Call, loop: Loop) -> None:
    """See to it that nobody reads of a new object what only its flush gives it."""
    variable = creation.variable
    known = {id(each) for node in (creation.tested, *creation.writes) for each in tree.walk(node)}
    for each in tree.walk(loop.function):
        if not isinstance(each, cst.Name) or each.value != variable or id(each) in known:
            continue
        above = tree.parent(each)
        if not tree.is_variable(each) or isinstance(above, cst.AssignTarget):
            continue
        if isinstance(above, cst.Attribute) and above.attr.value in _given(made):
            continue
        if not isinstance(above, cst.Arg) or not _relates(tree, above, loop):
            raise Refusal(f"{variable} may be read before it is flushed")


def _relates(tree: ModuleTree, argument: cst.Arg, loop: Loop) -> bool:
    """Tell whether an object becomes related to another one: in a constructor, or a collection."""
    call = cst.ensure_type(tree.parent(argument) or argument, cst.Call)
    if argument.keyword is not None:
        mapper = mapper_in(tree, call.func, loop.function)
        return mapper is not None and argument.keyword.value in mapper.relationships
    return m.matches(call.func, m.Attribute(m.Attribute(), m.Name("append") | m.Name("add")))
