"""Rows that a turn adds where it finds none, which later turns find."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import libcst as cst
from libcst import matchers as m
from sqlalchemy.orm import Mapper, scoped_session

from flask_perfkit.audit.patches.code.flushing import may_not_flush
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
_GOES_ON = m.SimpleStatementLine([m.Continue()]) | m.Continue()
_TAKES = m.SimpleStatementLine([m.Assign([m.AssignTarget(m.Name())])])
_COMMITS = m.Attribute(attr=m.Name("commit") | m.Name("flush"))


class Creation(NamedTuple):
    """What a turn adds where it finds nothing.

    ``tested`` is the expression that says whether anything was found, ``says_nothing`` whether it
    is true where not. ``writes`` are the calls that add a row and maybe flush it, ``line`` the last
    of their lines; ``variable`` is what was found or is added, None where nobody asks for it.
    """

    tested: cst.BaseExpression
    says_nothing: bool
    line: cst.SimpleStatementLine
    writes: Sequence[cst.Call]
    variable: str | None

    def test(self, name: str, key: str) -> str:
        """Return the code of the test, where the keys are those of all rows."""
        return f"{key} not in {name}" if self.says_nothing else f"{key} in {name}"

    def kept(self, name: str, key: str) -> str:
        """Return the code that lets later turns find what was added."""
        return f"{name}.add({key})" if self.variable is None else f"{name}[{key}] = {self.variable}"


class _Branch(NamedTuple):
    """What follows where nothing was found: ``lines``, after a statement with a test."""

    statement: cst.If
    says_nothing: bool
    lines: Sequence[Any]
    variable: str | None


def creation_in(
    tree: ModuleTree, place: Place, asked: Asked, split: Keyed, loop: Loop
) -> Creation | None:
    """Return what a turn adds where it finds nothing; None where it adds no such rows.

    :raises Refusal: it is not sure that later turns find the same as before.
    """
    branch = _branch(tree, place) if place.is_bare and isinstance(loop.node, cst.For) else None
    adding = [each for each in branch.lines if m.matches(each, _ADDS)] if branch else []
    if branch is None or len(adding) != 1:
        return None
    line = adding[0]
    adds = line.body[0].value
    made, name = _made(branch, adds.args[0].value)
    mapper = mapper_in(tree, made.func, loop.function) if made is not None else None
    if made is None or mapper is None or (branch.variable and name != branch.variable):
        return None
    if {key.column.table for key in split.keys} != {mapper.local_table}:
        return None
    writes = [adds]
    following = branch.lines[branch.lines.index(line) + 1 :]
    if following and m.matches(following[0], _FLUSHES):
        line = following[0]
        writes.append(line.body[0].value)
    creation = Creation(branch.statement.test, branch.says_nothing, line, writes, branch.variable)
    _check_found(tree, asked, split, mapper, branch.variable)
    _check_made(tree, mapper, made, split, branch.statement, loop)
    _check_flushed(tree, adds.func.value, asked, mapper, loop)
    if name is not None and len(writes) == 1:
        _check_uses(tree, name, creation, made, loop)
    return creation


def _made(branch: _Branch, added: cst.BaseExpression) -> tuple[cst.Call | None, str | None]:
    """Return the call that makes what is added, and the variable that it is given to."""
    if isinstance(added, cst.Call):
        return added, None
    name = cst.ensure_type(added, cst.Name).value
    gives = m.SimpleStatementLine([m.Assign([m.AssignTarget(m.Name(name))], m.Call())])
    given = [each for each in branch.lines if m.matches(each, gives)]
    return (given[0].body[0].value if len(given) == 1 else None), name


def _branch(tree: ModuleTree, place: Place) -> _Branch | None:
    """Return what follows where an answer is tested, and is none."""
    statement = statement_of(tree, place.node)
    block: Any = tree.parent(statement)
    following = list(block.body)[list(block.body).index(statement) + 1 :]
    variable: str | None = None
    answer: Any = m.MatchIfTrue(lambda node: node is place.node)
    above = tree.parent(place.node)
    if isinstance(above, cst.Assign) and m.matches(statement, _TAKES) and following:
        variable = cst.ensure_type(above.targets[0].target, cst.Name).value
        statement, *following = following
        answer = m.Name(variable)
    if not isinstance(statement, cst.If):
        return None
    body = list(statement.body.body)
    if m.matches(statement.test, m.UnaryOperation(m.Not(), answer) | _compared(answer, m.Is())):
        is_block = isinstance(statement.body, cst.IndentedBlock)
        return _Branch(statement, True, body, variable) if is_block else None
    is_found = m.matches(statement.test, answer | _compared(answer, m.IsNot()))
    if is_found and statement.orelse is None and m.matches(body[-1], _GOES_ON):
        return _Branch(statement, False, following, variable)
    return None


def _compared(answer: Any, operator: Any) -> Any:
    return m.Comparison(answer, [m.ComparisonTarget(operator, m.Name("None"))])


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
    by_model = asked.session in ("", f"{tree.code(asked.root[0].value)}.query.session")
    is_same = tree.code(session) == asked.session or (by_model and value is of_model)
    if not is_same or not isinstance(value, scoped_session):
        raise Refusal("it is not clear whether what is added is found by later iterations")
    if may_not_flush(tree, session, loop.function):
        raise Refusal("what is added is not flushed before later iterations look")
    for each in tree.ancestors(loop.node):
        if isinstance(each, cst.Try) and not m.findall(each.body, _COMMITS):
            raise Refusal("a row that is added may fail, and later than before")


def _given(made: cst.Call) -> dict[str, cst.BaseExpression]:
    return {each.keyword.value: each.value for each in made.args if each.keyword is not None}


def _check_uses(
    tree: ModuleTree, name: str, creation: Creation, made: cst.Call, loop: Loop
) -> None:
    """See to it that nobody reads of a new object what only its flush gives it."""
    known = {id(each) for node in (creation.tested, *creation.writes) for each in tree.walk(node)}
    for each in tree.walk(loop.function):
        if not isinstance(each, cst.Name) or each.value != name or id(each) in known:
            continue
        above = tree.parent(each)
        if not tree.is_variable(each) or isinstance(above, cst.AssignTarget):
            continue
        if isinstance(above, cst.Attribute) and (
            above.attr.value in _given(made) or isinstance(tree.parent(above), cst.AssignTarget)
        ):
            continue
        if not isinstance(above, cst.Arg) or not _relates(tree, above, loop):
            raise Refusal(f"{name} may be read before it is flushed")


def _relates(tree: ModuleTree, argument: cst.Arg, loop: Loop) -> bool:
    """Tell whether an object becomes related to another one: in a constructor, or a collection."""
    call = cst.ensure_type(tree.parent(argument) or argument, cst.Call)
    if argument.keyword is not None:
        mapper = mapper_in(tree, call.func, loop.function)
        return mapper is not None and argument.keyword.value in mapper.relationships
    return m.matches(call.func, m.Attribute(m.Attribute(), m.Name("append") | m.Name("add")))
