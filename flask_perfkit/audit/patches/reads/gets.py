"""Look-ups by primary key: a select of one row, or objects that the session keeps at hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import FunctionType
from typing import Any

import libcst as cst

from flask_perfkit.audit.patches.code.loops import innermost_loop, loop_around
from flask_perfkit.audit.patches.code.module import ModuleTree
from flask_perfkit.audit.patches.code.names import names_in, value_of
from flask_perfkit.audit.patches.code.places import callee
from flask_perfkit.audit.patches.code.refusal import Refusal
from flask_perfkit.audit.patches.code.rows import is_row_alone, may_be_unique
from flask_perfkit.audit.patches.code.steps import Step, substituted
from flask_perfkit.audit.patches.reads.asked import Asked
from flask_perfkit.audit.patches.reads.helpers import arguments_of, check_names
from flask_perfkit.recording.callsite import is_application
from flask_perfkit.recording.findings import Finding

_SAYS_THE_SAME = {"execution_options"}


@dataclass(frozen=True)
class Got:
    """A call that looks an object up by its primary key, in the session first.

    ``method`` is ``"get"``, ``"get_one"``, ``"get_or_404"`` or ``"merge"``; ``written`` are the
    attributes that merging writes. ``call`` may be that of a helper that does so.
    """

    call: cst.Call
    session: str
    method: str
    model: cst.BaseExpression
    keys: Sequence[cst.BaseExpression]
    mapper: Any
    options: Sequence[cst.Arg] = ()
    written: frozenset[str] = frozenset()
    awaits: bool = False

    @property
    def columns(self) -> list[str]:
        """The attributes that are the primary key."""
        found = self.mapper.primary_key
        return [self.mapper.get_property_by_column(each).key for each in found]


def gots_at(tree: ModuleTree, lineno: int) -> list[Got]:
    """Return the look-ups by primary key that a line does."""
    calls = [call for call in tree.around(lineno, cst.Call) if tree.named_line(call) == lineno]
    return [got for got in (_got(tree, call) for call in calls) if got is not None]


def asked_by(tree: ModuleTree, got: Got) -> Asked | None:
    """Return a look-up as a select; None where it does more, as an error for a missing row is."""
    if got.method != "get" or got.options:
        return None
    above: Any = tree.parent(got.call)
    keywords = [
        cst.Arg(key, keyword=cst.Name(name))
        for name, key in zip(got.columns, got.keys, strict=True)
    ]
    steps = [Step("filter_by", keywords)]
    function = tree.function_of(got.call)
    node = above if got.awaits else got.call
    root = [cst.Arg(got.model)]
    return Asked(node, function, got.session, None, root, steps, "value", got.awaits)


def keep_in_session(tree: ModuleTree, got: Got) -> None:
    """Load all objects before the loop, so that each is found in the session in its turn.

    :raises Refusal: another turn may need to ask again.
    """
    loop = loop_around(tree, got.call)
    loop.check_keys(got.call, got.keys)
    if names_in(cst.parse_expression(got.session)) & loop.names:
        raise Refusal("each iteration has a session of its own")
    if any(names_in(each.value) & loop.names for each in got.options):
        raise Refusal("the options differ between iterations")
    _check_writes(tree, got, loop)
    tree.need([("sqlalchemy", "select")])
    columns = [f"{tree.code(got.model)}.{each}" for each in got.columns]
    if len(columns) > 1:
        tree.need([("sqlalchemy", "tuple_")])
    compared = columns[0] if len(columns) == 1 else f"tuple_({', '.join(columns)})"
    values = [tree.code(each) for each in got.keys]
    keys = loop.all_of(values[0] if len(values) == 1 else f"({', '.join(values)})")
    select = f"select({tree.code(got.model)}).where({compared}.in_({keys}))"
    options = "".join(f", {tree.code(each).strip().rstrip(',')}" for each in got.options)
    asking = f"{got.session}.scalars({select}{options})"
    asking = f"(await {asking}).all()" if got.awaits else f"{asking}.all()"
    name = loop.new_name(f"_{got.mapper.class_.__name__.lower()}s")
    note = f"# {callee(got.call)}() finds these in the session, while something holds them"
    loop.insert_before([f"{note}\n{name} = {asking}"])


def keep_where_called(tree: ModuleTree, got: Got, finding: Finding, there: ModuleTree) -> None:
    """Load all objects before the loop that calls the function of a look-up, whatever else it does.

    The function stays as it is, with its decorators: what it looks up is there then.

    :raises Refusal: its calls, or what they look up, are not seen in a loop.
    """
    helper = tree.function_of(got.call)
    lines = {line for name, line, _ in finding.callers if name == there.module.__file__}
    calls = [
        each
        for each in there.walk()
        if isinstance(each, cst.Call) and there.named_line(each) in lines
        if helper is not None and callee(each) == helper.name.value
    ]
    if helper is None or len(calls) != 1 or innermost_loop(there, calls[0]) is None:
        raise Refusal("no loop over something known is around it in its function")
    (call,) = calls
    is_method = bool(helper.params.params) and helper.params.params[0].name.value == "self"
    owner = call.func.value if is_method and isinstance(call.func, cst.Attribute) else None
    values = arguments_of(helper, call, owner)
    session = cst.parse_expression(got.session)
    names = {name for each in (session, got.model, *got.keys) for name in names_in(each)}
    check_names(tree, there, helper, names - values.keys(), call)
    keys = [substituted(tree, each, values) for each in got.keys]
    session = substituted(tree, session, values)
    keep_in_session(there, replace(got, call=call, session=there.code(session), keys=keys))


def _got(tree: ModuleTree, call: cst.Call) -> Got | None:
    if not isinstance(call.func, cst.Attribute):
        return None
    name, owner = call.func.attr.value, call.func.value
    function = tree.function_of(call)
    places = [each for each in call.args if each.keyword is None and not each.star]
    options = [each for each in call.args if each.keyword is not None]
    if name == "merge" and len(call.args) == 1 == len(places):
        return _merged(tree, call, places[0].value, function)
    model: cst.BaseExpression
    of_query = name in ("get", "get_or_404") and isinstance(owner, cst.Attribute)
    if of_query and isinstance(owner, cst.Attribute) and len(call.args) == 1 == len(places):
        if owner.attr.value != "query":
            return None
        own = getattr(value_of(tree, call.func, function), "__func__", None)
        if isinstance(own, FunctionType) and is_application(own.__code__.co_filename):
            return None
        model, session, key = owner.value, f"{tree.code(owner)}.session", places[0].value
    elif name in ("get", "get_one", "get_or_404") and len(places) == 2:
        model, key, session = places[0].value, places[1].value, tree.code(owner)
        session = f"{session}.session" if name == "get_or_404" else session
    else:
        return None
    value = value_of(tree, model, function)
    mapper = getattr(value, "__mapper__", None) if isinstance(value, type) else None
    if mapper is None:
        return None
    keys = [each.value for each in key.elements] if isinstance(key, cst.Tuple) else [key]
    if len(keys) != len(mapper.primary_key):
        raise Refusal("it is not clear which columns of the key are given")
    if any(
        each.keyword is not None and each.keyword.value not in _SAYS_THE_SAME for each in options
    ):
        raise Refusal("the look-up by primary key has more to it than the key")
    awaits = isinstance(tree.parent(call), cst.Await)
    return Got(call, session, name, model, keys, mapper, options, awaits=awaits)


def _merged(
    tree: ModuleTree, call: cst.Call, made: cst.BaseExpression, function: cst.FunctionDef | None
) -> Got | None:
    """Return the look-up that ``merge(Model(id=key, …))`` begins with."""
    if not isinstance(made, cst.Call):
        return None
    value = value_of(tree, made.func, function)
    mapper = getattr(value, "__mapper__", None) if isinstance(value, type) else None
    if mapper is None or not is_row_alone(mapper, made):
        return None
    given = {each.keyword.value: each.value for each in made.args if each.keyword is not None}
    names = [mapper.get_property_by_column(each).key for each in mapper.primary_key]
    if not given.keys() >= set(names):
        return None
    owner = tree.code(cst.ensure_type(call.func, cst.Attribute).value)
    keys = [given[name] for name in names]
    written = frozenset(given.keys() - set(names))
    awaits = isinstance(tree.parent(call), cst.Await)
    return Got(call, owner, "merge", made.func, keys, mapper, written=written, awaits=awaits)


def _check_writes(tree: ModuleTree, got: Got, loop: Any) -> None:
    """See to it that what the loop writes leaves alone what later turns look up.

    :raises Refusal: it may not.
    """
    if got.method == "merge":
        if any(may_be_unique(name, got.mapper) for name in got.written):
            raise Refusal("a unique column is written: the order may count")
        loop.check_reads([got.call], session=got.session)
        return
    deleting: Any = tree.parent(tree.parent(got.call) or got.call)
    is_deleted = isinstance(deleting, cst.Call) and (
        isinstance(deleting.func, cst.Attribute) and deleting.func.attr.value == "delete"
    )
    if not is_deleted:
        loop.check_reads([got.call], told_by=frozenset(got.columns), session=got.session)
        return
    if not all(loop.walked.are_distinct(key) for key in got.keys) or _reaches_itself(got.mapper):
        raise Refusal("a deleted row may be looked up again")
    loop.check_reads([deleting], session=got.session)


def _reaches_itself(mapper: Any) -> bool:
    """Tell whether deleting an object may delete others, or a row of the same table."""
    return any(each.cascade.delete for each in mapper.relationships) or any(
        key.column.table in mapper.tables for table in mapper.tables for key in table.foreign_keys
    )
