"""What the columns of a statement are like: their types, widths and keys."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
    Time,
    TypeDecorator,
    Uuid,
)
from sqlalchemy.orm.exc import UnmappedColumnError

from flask_perfkit.recording.mappers import mapper_of, mappers_of

_SHORT = 255
_WIDE = (String, LargeBinary, JSON)
_SMALL = (Boolean, Date, DateTime, Float, Integer, Interval, Numeric, Time, Uuid)
_EXACT = (Integer, Numeric)
_ORDERED = (Float, Date, DateTime, Time, Interval)


def gives_same(entity: tuple[str, ...], aggregate: str, attribute: str) -> bool:
    """Tell whether a database works out of a column what Python does of the attribute.

    Numbers add up alike unless they are floats, whose order counts; texts are ordered by
    collations, and what a type of the application's makes of a value is not known.

    :param entity: the class and its mapped bases, as :class:`Reason` has them.
    :param aggregate: ``"sum"``, ``"max"``, ``"min"``, or ``"count"`` by the attribute's values.
    """
    mappers = mappers_of(entity)
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
    keys = [mapper.primary_key for mapper in mappers_of(entity)]
    return len(keys) == 1 and [key.name for key in keys[0]] == [name]


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
