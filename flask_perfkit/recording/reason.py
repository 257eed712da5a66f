"""Why a statement was sent, as SQLAlchemy itself tells it.

The text of a statement does not say which relationship asked for it; the ORM's own options
do. They have private names, so that everything read from them is read here, and a statement
about which nothing can be told falls back to its table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from operator import eq
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Date,
    DateTime,
    Float,
    Integer,
    Interval,
    LargeBinary,
    Numeric,
    String,
    Table,
    Time,
    TypeDecorator,
    Uuid,
)
from sqlalchemy.orm import Mapper, RelationshipProperty
from sqlalchemy.orm.exc import UnmappedColumnError
from sqlalchemy.orm.mapper import _all_registries
from sqlalchemy.sql import visitors
from sqlalchemy.sql.elements import BinaryExpression
from sqlalchemy.sql.functions import FunctionElement

from flask_perfkit.recording.tables import table_of, tables_in
from flask_perfkit.recording.volatility import is_volatile

_SHORT = 255
_WIDE = (String, LargeBinary, JSON)
_AGGREGATES = ("avg", "count", "max", "min", "sum")
_SMALL = (Boolean, Date, DateTime, Float, Integer, Interval, Numeric, Time, Uuid)
_EXACT = (Integer, Numeric)
_ORDERED = (Float, Date, DateTime, Time, Interval)
_LOADERS = {
    "joined": "joinedload",
    "selectin": "selectinload",
    "subquery": "subqueryload",
    "immediate": "immediateload",
}
_DEEPEST_DEFAULT = 3
_LIMIT_AT_END = re.compile(r"\b(?:LIMIT|FETCH\s+(?:FIRST|NEXT))\b[^()]*$", re.IGNORECASE)
_TOP = re.compile(r"^\s*SELECT\s+(?:DISTINCT\s+)?TOP\b", re.IGNORECASE)


AUTO_BATCH = "perfkit_auto_batch"
"""The execution option that auto-batching gives to its statements."""


@dataclass(frozen=True, slots=True)
class Step:
    """One relationship on the way from an entity to what was loaded.

    ``loader`` is the option that loads it now, where one does; ``parent`` is the class
    that has it, which a cure is built from.
    """

    owner: str
    name: str
    to_many: bool
    loader: str = ""
    parent: type | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.owner}.{self.name}"


@dataclass(frozen=True, slots=True)
class Eager:
    """A relationship that a statement loads along, with the way to it; ``entity`` as below.

    ``by_default`` tells that the mapping asks for it, and no option of the statement.
    """

    steps: tuple[Step, ...]
    entity: tuple[str, ...]
    by_default: bool = False


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
    eager = _eager(compiled, mapper) if of_objects and statement is not None else ()
    return Reason(
        "statement",
        mapper.class_.__name__,
        _names(mapper),
        limited=limited,
        eager=(*_others(statement, mapper), *eager),
        of_objects=of_objects,
        uniqued=_is_uniqued(compiled, options),
        volatile=volatile,
        one_row=_gives_one_row(statement),
    )


def gives_same(entity: tuple[str, ...], aggregate: str, attribute: str) -> bool:
    """Tell whether a database works out of a column what Python does of the attribute.

    Numbers add up alike unless they are floats, whose order counts; texts are ordered by
    collations, and what a type of the application's makes of a value is not known.

    :param entity: the class and its mapped bases, as :class:`Reason` has them.
    :param aggregate: ``"sum"``, ``"max"``, ``"min"``, or ``"count"`` by the attribute's values.
    """
    mappers = _mappers_of(entity)
    if len(mappers) != 1 or attribute not in mappers[0].column_attrs:
        return False
    column = mappers[0].column_attrs[attribute].columns[0]
    if not isinstance(column, Column):
        return False
    if aggregate == "sum":
        return isinstance(column.type, _EXACT) and not isinstance(column.type, Float)
    if aggregate == "count":
        return not isinstance(column.type, TypeDecorator)
    return isinstance(column.type, (*_EXACT, *_ORDERED))


def is_primary_key(entity: tuple[str, ...], column: str) -> bool:
    """Tell whether a column of a statement is the primary key of a class, by itself.

    :param entity: the class and its mapped bases, as :class:`Reason` has them.
    :param column: as the statement has it, with or without its table.
    """
    name = column.replace('"', "").replace("`", "").rpartition(".")[2]
    keys = [mapper.primary_key for mapper in _mappers_of(entity)]
    return len(keys) == 1 and [key.name for key in keys[0]] == [name]


def _mappers_of(entity: tuple[str, ...]) -> list[Mapper[Any]]:
    registries = _all_registries()
    return [
        mapper for registry in registries for mapper in registry.mappers if _names(mapper) == entity
    ]


def _orm_reason(
    statement: Any, load: Any, touched: str | None, expired: bool, limited: bool
) -> Reason | None:
    path = path_of(statement)
    steps = tuple(_steps(path))
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
        _names(path[-1].mapper),
        _names(root),
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
        _names(mapper),
        _names(root),
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
    return not hasattr(statement, "_raw_columns") or mapper in selected(statement)


def _others(statement: Any, mapper: Mapper[Any]) -> Iterator[Eager]:
    """Yield the entities that a statement selects beside the first."""
    return (Eager((), _names(other)) for other in selected(statement) if other is not mapper)


def selected(statement: Any) -> Iterator[Mapper[Any]]:
    """Yield the mappers whose objects a select brings."""
    for column in getattr(statement, "_raw_columns", ()):
        annotations = getattr(column, "_annotations", {})
        mapper = getattr(annotations.get("parententity"), "mapper", None)
        if mapper is not None and "proxy_key" not in annotations:
            yield mapper


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


def _eager(compiled: Any, mapper: Mapper[Any]) -> Iterator[Eager]:
    """Yield what a statement loads along: by its options, then by the mapping's defaults."""
    for option in getattr(compiled.statement, "_with_options", ()):
        for element in getattr(option, "context", ()):
            path = element.path
            steps = tuple(_steps(path))
            if steps and isinstance(path[-1], Mapper):
                *way, last = steps
                loader = _LOADERS.get(str(dict(element.strategy or ()).get("lazy")), "defaultload")
                if "eager_from_alias" in (element.local_opts or {}):
                    loader = "contains_eager"
                yield Eager((*way, replace(last, loader=loader)), _names(path[-1]))
    yield from _Defaults(compiled).below(mapper, (), joined=True)


class _Defaults:
    """The loaders of the mapping that hold for a statement, as SQLAlchemy compiled it.

    An option overrules them, by the relationship's name or for all relationships.
    """

    def __init__(self, compiled: Any) -> None:
        attributes = getattr(getattr(compiled, "compile_state", None), "attributes", {})
        paths = [key for key in attributes if isinstance(key, tuple) and len(key) == 2]
        self._joined = {_way(path) for name, path in paths if name == "eager_row_processor"}
        options = [path for name, path in paths if name == "loader"]
        self._said = {_way(path) for path in options if not _is_for_all(path)}
        self._said_for_all = {_way(path) for path in options if _is_for_all(path)}

    def below(
        self, mapper: Mapper[Any], way: _Way, steps: tuple[Step, ...] = (), *, joined: bool
    ) -> Iterator[Eager]:
        """Yield what is loaded along with the objects at the end of a way.

        :param joined: whether the same statement brings these objects.
        """
        if any(way[: len(each)] == each for each in self._said_for_all):
            return
        for relationship in mapper.relationships:
            loader = _LOADERS.get(str(relationship.lazy))
            further = (*way, relationship)
            if loader is None or further in self._said:
                continue
            along = joined and loader == "joinedload"
            if along and further not in self._joined:
                continue
            now = (*steps, replace(_step(relationship), loader=loader))
            yield Eager(now, _names(relationship.mapper), by_default=True)
            if len(now) < _DEEPEST_DEFAULT:
                yield from self.below(relationship.mapper, further, now, joined=along)


_Way = tuple[RelationshipProperty[Any], ...]


def _way(path: Any) -> _Way:
    return tuple(part for part in path if isinstance(part, RelationshipProperty))


def _is_for_all(path: Any) -> bool:
    return isinstance(path[-1], str) and path[-1].startswith("relationship:")


def _steps(path: Any) -> Iterator[Step]:
    for part in path:
        if isinstance(part, RelationshipProperty):
            yield _step(part)


def _step(relationship: RelationshipProperty[Any]) -> Step:
    return Step(
        relationship.parent.class_.__name__,
        relationship.key,
        bool(relationship.uselist),
        parent=relationship.parent.class_,
    )


def _names(mapper: Mapper[Any]) -> tuple[str, ...]:
    """Return the class of a mapper and its mapped bases, the class itself first."""
    return tuple(
        f"{each.class_.__module__}.{each.class_.__qualname__}" for each in mapper.iterate_to_root()
    )


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
    return mapper_of(getattr(statement, "table", None)) or _mapper_of_name(table_of(sql))


def mapper_of(table: Any) -> Mapper[Any] | None:
    """Return the mapper of a table, the base class where several share one.

    Tables of several databases may share a name, so that a name is for text only.
    """
    return _base_mapper(lambda mapper: table == mapper.local_table)


def _mapper_of_name(table: str) -> Mapper[Any] | None:
    return _base_mapper(lambda mapper: getattr(mapper.local_table, "name", None) == table)


def _base_mapper(maps: Callable[[Mapper[Any]], bool]) -> Mapper[Any] | None:
    found = None
    for registry in _all_registries():
        for mapper in registry.mappers:
            if maps(mapper) and (found is None or found.isa(mapper)):
                found = mapper
    return found


def may_be_large(compiled: Any) -> bool:
    """Tell whether a parameter of a statement may be a long text or the like."""
    binds = getattr(compiled, "binds", None)
    if binds is None:
        return True  # what went to the driver has parameters of no known type
    return not all(isinstance(bind.type, _SMALL) for bind in binds.values())


def texts_of(compiled: Any) -> Iterator[tuple[int, str]]:
    """Yield the columns of entities that may be wide: their places in a row and their names."""
    entities = getattr(getattr(compiled, "compile_state", None), "_entities", ())
    if not any(hasattr(entity, "mapper") for entity in entities):
        return  # columns by themselves: what becomes of them cannot be seen
    for place, entry in enumerate(compiled._result_columns):
        length = getattr(entry.type, "length", None)
        if isinstance(entry.type, _WIDE) and (length is None or length > _SHORT):
            name = _mapped_name(entry.objects)
            if name is not None:
                yield place, name


def _mapped_name(objects: Iterable[Any]) -> str | None:
    column = next((each for each in objects if isinstance(each, Column)), None)
    if column is None or column.table is None:
        return None
    table = getattr(column.table, "element", column.table)
    mapper = mapper_of(table)
    if mapper is None or column.key not in table.c:
        return None
    try:
        attribute = mapper.get_property_by_column(table.c[column.key])
    except UnmappedColumnError:
        return None
    return f"{attribute.parent.class_.__name__}.{attribute.key}"
