"""One select before a loop that loads what the objects lack which the loop walks.

It is for objects that are there already, brought by a statement that has no place for an option: it
serves others too, or was sent before the objects forgot what they had. SQLAlchemy gives what the
select brings to the objects that the session has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import libcst as cst

from flask_perfkit.audit.patches.code.loops import Loop, loop_around
from flask_perfkit.audit.patches.code.module import ModuleTree
from flask_perfkit.audit.patches.code.names import names_in
from flask_perfkit.audit.patches.code.places import callee
from flask_perfkit.audit.patches.code.refusal import Refusal
from flask_perfkit.cures.loaders import LoaderOption, ReadAgain, combined, key_names
from flask_perfkit.recording.findings import Finding

_SENDS = {"scalars", "scalar", "execute", "get", "get_one", "commit", "flush", "query"}


def load_before(tree: ModuleTree, findings: Sequence[Finding]) -> None:
    """Load before the loop what each turn of it would load.

    :raises Refusal: the objects of the loop, or their session, are not seen there.
    """
    loops = [_loop(tree, each.lineno or 0, each.subject.rpartition(".")[2]) for each in findings]
    loop = loops[0]
    if any(each is not loop for each in loops):
        raise Refusal("several loops are to be loaded for")
    options = [_alone(each.cure) for each in findings if isinstance(each.cure, LoaderOption)]
    lost = [each.cure for each in findings if isinstance(each.cure, ReadAgain)]
    entities = {each.entity for each in options} | {each.entity for each in lost}
    if len(entities) > 1:
        raise Refusal("the objects of the loop lack things of several classes")
    select = _select(tree, loop, entities.pop(), is_expired=bool(lost))
    if options:
        select += f".options({', '.join(each.code for each in combined(options))})"
        for each in options:
            tree.need(each.imports)
    session, awaits = session_of(tree, loop)
    if tree.note(loop.node, select):
        loop.insert_before([f"{awaits}{session}.scalars({select}){'' if awaits else '.all()'}"])


def _alone(option: LoaderOption) -> LoaderOption:
    alone = option.alone()
    if alone is None:
        raise Refusal("the objects of the loop lead to those that lack something")
    return alone


def _loop(tree: ModuleTree, lineno: int, attribute: str) -> Loop:
    """Return the loop whose own objects are asked for an attribute at a line."""
    for node in tree.around(lineno, cst.Attribute):
        if node.attr.value != attribute or not isinstance(node.value, cst.Name):
            continue
        loop = loop_around(tree, node)
        if names_in(loop.node.target) == {node.value.value} == {tree.code(loop.node.target)}:
            return loop
    raise Refusal(f"no loop over the objects is around what reads .{attribute} there")


def _select(tree: ModuleTree, loop: Loop, entity: type, *, is_expired: bool) -> str:
    """Return a select of the loop's objects as code.

    :param is_expired: they would be read again one by one to be asked for their keys.
    """
    keys = key_names(entity)
    target, model = tree.code(loop.node.target), entity.__name__
    tree.need([("sqlalchemy", "select"), (entity.__module__, model)])
    columns = [f"{model}.{key}" for key in keys]
    values = [f"{target}.{key}" for key in keys]
    if len(keys) > 1:
        tree.need([("sqlalchemy", "tuple_")])
    if is_expired:
        tree.need([("sqlalchemy", "inspect")])
        identity = f"inspect({target}).identity"
        key = identity if len(keys) > 1 else f"{identity}[0]"
    else:
        key = f"({', '.join(values)})" if len(keys) > 1 else values[0]
    compared = f"tuple_({', '.join(columns)})" if len(keys) > 1 else columns[0]
    return f"select({model}).where({compared}.in_({loop.all_of(key)}))"


def session_of(tree: ModuleTree, loop: Loop) -> tuple[str, str]:
    """Return the session that the function works with, as code, and ``await`` where it takes one.

    :raises Refusal: none is seen, or several are.
    """
    found = dict.fromkeys(_sessions(tree, tree.function_of(loop.node)))
    if not found and hasattr(vars(tree.module).get("db"), "session"):
        found = {("db.session", ""): None}
    if len(found) != 1:
        raise Refusal("it is not clear which session has the objects")
    return next(iter(found))


def _sessions(tree: ModuleTree, function: Any) -> Iterator[tuple[str, str]]:
    for each in tree.walk(function) if function is not None else ():
        if not (isinstance(each, cst.Call) and isinstance(each.func, cst.Attribute)):
            continue
        owner = each.func.value
        if each.func.attr.value in _SENDS and "session" in callee(owner).lower():
            awaits = "await " if isinstance(tree.parent(each), cst.Await) else ""
            yield tree.code(owner), awaits
