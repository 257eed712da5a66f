"""Why a statement was sent, as SQLAlchemy itself tells it.

The text of a statement does not say which relationship asked for it; the ORM's own options
do. They have private names, so that everything read from them is read here, and a statement
about which nothing can be told falls back to its table.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from operator import eq
from typing import Any

from sqlalchemy import (
    Table,
)
from sqlalchemy.orm import Mapper, RelationshipProperty
from sqlalchemy.orm.exc import UnmappedColumnError
from sqlalchemy.sql import visitors
from sqlalchemy.sql.elements import BinaryExpression
from sqlalchemy.sql.functions import FunctionElement

from flask_perfkit.recording.eager import Eager, Step, eager_of, steps_of
from flask_perfkit.recording.mappers import entities_of, mapper_of, mapper_of_name, names_of
from flask_perfkit.recording.tables import table_of, tables_in
from flask_perfkit.recording.volatility import is_volatile

_AGGREGATES = ("avg", "count", "max", "min", "sum")
_LIMIT_AT_END = re.compile(r"\b(?:LIMIT|FETCH\s+(?:FIRST|NEXT))\b[^()]*$", re.IGNORECASE)
_TOP = re.compile(r"^\s*SELECT\s+(?:DISTINCT\s+)?TOP\b", re.IGNORECASE)

AUTO_BATCH = "perfkit_auto_batch"
"""The execution option that auto-batching gives to its statements."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a statement was sent.

    ``kind`` is ``"lazy"`` (a relationship was touched), ``"auto_batch"`` (one was, and it is
    loaded for others too), ``"column"`` (a deferred or expired column was touched), ``"batch"``
    (a loader fetches for many parents at once) or ``"statement"`` (the code asked). ``entity``
    and its mapped bases are the rows' class, ``parents`` the classes of the object that was
    touched, ``steps`` the relationships walked as far as the ORM says; ``loads`` says why a
    column had to be loaded: it was ``"deferred"`` (in ``group``, if it has one), ``"expired"``,
    or ``"polymorphic"`` (of a subclass's table, after a select of the base). ``eager`` is what a
    statement loads along. ``of_objects`` is false for a statement that brings no objects of
    ``entity``: a count, or columns by themselves. ``uniqued`` tells that a ``Query`` may have
    fewer objects than the statement has rows, since it gives each of them once. ``volatile``
    tells that the same question may get another answer: see :mod:`.volatility`. ``one_row``
    tells that the answer is one row of aggregates, whatever is asked for. ``plain_join`` tells
    that a relationship compares its pairs of columns and nothing else, and ``owner_keys`` are, as
    code, the columns by which the members of such a collection name their owner. ``tables`` are
    the names of all that it reads or writes, in small letters: see :mod:`.tables`.
    """

    kind: str
    subject: str
    entity: tuple[str, ...] = ()
    parents: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    loads: str = ""
    group: str | None = None
    eager: tuple[Eager, ...] = ()
    limited: bool = False
    of_objects: bool = True
    uniqued: bool = False
    volatile: bool = False
    one_row: bool = False
    plain_join: bool = True
    owner_keys: tuple[str, ...] = ()
    tables: frozenset[str] = frozenset()

    def way_to(self, parents: tuple[str, ...]) -> tuple[Step, ...] | None:
        """Return by which way the statement brings objects of a class; None where it does not.

        :param parents: the class and its mapped bases.
        """
        if self.of_objects and _is_one(self.entity, parents):
            return ()
        return next((each.steps for each in self.eager if _is_one(each.entity, parents)), None)


def _is_one(loaded: tuple[str, ...], touched: tuple[str, ...]) -> bool:
    """Tell whether rows of one class can be objects of another: a base brings subclasses."""
    return bool(loaded and touched) and (loaded[0] in touched or touched[0] in loaded)


def path_of(statement: Any) -> Any:
    """Return the ORM's path to what a statement loads; equal paths are one object."""
    return statement._compile_options._current_path


def reads_one_row(statement: Any, options: Any) -> bool:
    """Tell whether the ORM looks up one object by its primary key."""
    try:
        load = options.get("_sa_orm_load_options")
        state = load._lazy_loaded_from
        return state is not None and not path_of(statement)[-1].uselist
    except (AttributeError, IndexError, TypeError):
        return False


def reason_of(compiled: Any, options: Any, sql: str, touched: str | None, expired: bool) -> Reason:
    """Return the reason of one execution.

    :param compiled: what was compiled; None for SQL that went to the driver.
    :param options: ``context.execution_options``.
    :param sql: the shape of the statement.
    :param touched: the mapped attribute that was being read, if one was.
    :param expired: whether that attribute had been loaded before.
    """
    reason = _loaded(compiled, options, sql, touched, expired)
    return replace(reason or _asked(compiled, options, sql), tables=tables_in(compiled, sql))


def _loaded(
    compiled: Any, options: Any, sql: str, touched: str | None, expired: bool
) -> Reason | None:
    """Return the reason of what the ORM sent by itself; None where the code asked."""
    statement = getattr(compiled, "statement", None)
    try:
        load = options.get("_sa_orm_load_options")
        if load is None:
            return None
        reason = _orm_reason(statement, load, touched, expired, _is_limited(statement, sql))
        if reason is None or AUTO_BATCH not in options:
            return reason
        return replace(reason, kind="auto_batch")
    except (AttributeError, IndexError, KeyError, TypeError):
        return None  # another release keeps it elsewhere: the table still tells what was read


def _asked(compiled: Any, options: Any, sql: str) -> Reason:
    """Return the reason of a statement that the code wrote itself."""
    statement = getattr(compiled, "statement", None)
    limited = _is_limited(statement, sql)
    mapper = _subject_mapper(statement, sql)
    volatile = is_volatile(statement, sql)
    if mapper is None:
        return Reason("statement", table_of(sql), limited=limited, volatile=volatile)
    of_objects = _is_of_objects(statement, mapper)
    eager = eager_of(compiled, mapper) if of_objects and statement is not None else ()
    return Reason(
        "statement",
        mapper.class_.__name__,
        names_of(mapper),
        limited=limited,
        eager=(*_others(statement, mapper), *eager),
        of_objects=of_objects,
        uniqued=_is_uniqued(compiled, options),
        volatile=volatile,
        one_row=_gives_one_row(statement),
    )


def _orm_reason(
    statement: Any, load: Any, touched: str | None, expired: bool, limited: bool
) -> Reason | None:
    path = path_of(statement)
    steps = tuple(steps_of(path))
    if load._refresh_state is not None:
        if touched is None:
            return None
        loaded = statement._compile_options._only_load_props or ()
        mapper = load._refresh_state.mapper
        root = path[0].mapper if steps else mapper
        return _column_reason(mapper, touched, loaded, expired, root, steps)
    if not steps:
        return None
    lazy = load._lazy_loaded_from
    root = lazy.mapper if lazy is not None and len(steps) == 1 else path[0].mapper
    relationship = path[-2] if isinstance(path[-1], Mapper) else path[-1]
    plain = _has_plain_join(relationship)
    return Reason(
        "batch" if lazy is None else "lazy",
        str(steps[-1]),
        names_of(path[-1].mapper),
        names_of(root),
        steps,
        limited=limited,
        plain_join=plain,
        owner_keys=_owner_keys(relationship) if plain else (),
    )


def _has_plain_join(relationship: RelationshipProperty[Any]) -> bool:
    """Tell whether a relationship compares its pairs of columns and nothing else."""
    conditions = [relationship.primaryjoin, relationship.secondaryjoin]
    compared = [
        element
        for condition in conditions
        if condition is not None
        for element in visitors.iterate(condition)
        if isinstance(element, BinaryExpression)
    ]
    pairs = relationship.local_remote_pairs or ()
    return len(compared) == len(pairs) and all(each.operator is eq for each in compared)


def _owner_keys(relationship: RelationshipProperty[Any]) -> tuple[str, ...]:
    """Return, as code, the columns of a collection's members that name their owner."""
    if relationship.secondary is not None or not relationship.uselist:
        return ()
    members = relationship.mapper
    try:
        keys = [
            members.get_property_by_column(column).key
            for _, column in relationship.local_remote_pairs or ()
        ]
    except UnmappedColumnError:
        return ()
    return tuple(f"{members.class_.__name__}.{key}" for key in keys)


def _column_reason(
    mapper: Mapper[Any],
    touched: str,
    loaded: Collection[str],
    expired: bool,
    root: Mapper[Any],
    steps: tuple[Step, ...],
) -> Reason:
    attribute = mapper.attrs[touched]
    loads = "expired" if expired else "deferred"
    # After a select of the base, SQLAlchemy takes a subclass's columns for expired ones.
    if loaded and all(mapper.attrs[key].parent is not mapper.base_mapper for key in loaded):
        loads = "polymorphic" if expired else loads
    return Reason(
        "column",
        f"{attribute.parent.class_.__name__}.{touched}",
        names_of(mapper),
        names_of(root),
        steps,
        loads=loads,
        group=getattr(attribute, "group", None),
    )


def _is_uniqued(compiled: Any, options: Any) -> bool:
    """Tell whether a ``Query`` gives each object once though several rows may bring it."""
    try:
        load = options.get("_sa_orm_load_options")
        return bool(load._legacy_uniquing) and not _reads_one_table(compiled)
    except AttributeError:
        return False


def _is_of_objects(statement: Any, mapper: Mapper[Any]) -> bool:
    """Tell whether a statement selects the entity itself; what cannot be told is taken so."""
    return not hasattr(statement, "_raw_columns") or mapper in _selected(statement)


def _others(statement: Any, mapper: Mapper[Any]) -> Iterator[Eager]:
    """Yield the entities that a statement selects beside the first."""
    return (Eager((), names_of(other)) for other in _selected(statement) if other is not mapper)


def _selected(statement: Any) -> Iterator[Mapper[Any]]:
    """Yield the mappers whose objects a select brings."""
    return (entity.mapper for entity in entities_of(statement))


def _gives_one_row(statement: Any) -> bool:
    """Tell whether a select brings nothing but aggregates of all its rows."""
    columns = [getattr(each, "element", each) for each in getattr(statement, "_raw_columns", ())]
    grouped = getattr(statement, "_group_by_clauses", ())
    return bool(columns) and not grouped and all(map(_is_aggregate, columns))


def _is_aggregate(column: Any) -> bool:
    return isinstance(column, FunctionElement) and getattr(column, "name", "") in _AGGREGATES


def _reads_one_table(compiled: Any) -> bool:
    sources = compiled.compile_state.statement.get_final_froms()
    return len(sources) == 1 and isinstance(sources[0], Table)


def _is_limited(statement: Any, sql: str) -> bool:
    if getattr(statement, "_limit_clause", None) is not None:
        return True
    if getattr(statement, "_fetch_clause", None) is not None:
        return True
    return bool(_LIMIT_AT_END.search(sql) or _TOP.match(sql))


def _subject_mapper(statement: Any, sql: str) -> Mapper[Any] | None:
    attributes = getattr(statement, "_propagate_attrs", None) or {}
    subject = attributes.get("plugin_subject")
    mapper = getattr(subject, "mapper", None)
    if mapper is not None:
        return mapper  # type: ignore[no-any-return]
    return mapper_of(getattr(statement, "table", None)) or mapper_of_name(table_of(sql))
