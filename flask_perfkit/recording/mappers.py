"""Which class a table or a name is mapped to, and which of them a statement selects."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from sqlalchemy.orm import Mapper
from sqlalchemy.orm.mapper import _all_registries


def names_of(mapper: Mapper[Any]) -> tuple[str, ...]:
    """Return the class of a mapper and its mapped bases, the class itself first."""
    return tuple(
        f"{each.class_.__module__}.{each.class_.__qualname__}" for each in mapper.iterate_to_root()
    )


def mapper_of(table: Any) -> Mapper[Any] | None:
    """Return the mapper of a table, the base class where several share one.

    Tables of several databases may share a name, so that a name is for text only.
    """
    return _base_mapper(lambda mapper: table == mapper.local_table)


def mapper_of_name(table: str) -> Mapper[Any] | None:
    """Return the mapper of a table that only a text names."""
    return _base_mapper(lambda mapper: getattr(mapper.local_table, "name", None) == table)


def _base_mapper(maps: Callable[[Mapper[Any]], bool]) -> Mapper[Any] | None:
    found = None
    for registry in _all_registries():
        for mapper in registry.mappers:
            if maps(mapper) and (found is None or found.isa(mapper)):
                found = mapper
    return found


def mappers_of(entity: tuple[str, ...]) -> list[Mapper[Any]]:
    """Return the mappers that have the names of :func:`names_of`; several may."""
    mappers = (mapper for registry in _all_registries() for mapper in registry.mappers)
    return [mapper for mapper in mappers if names_of(mapper) == entity]


def entities_of(statement: Any) -> Iterator[Any]:
    """Yield what a statement brings objects of, inspected: mappers and aliases of mappers."""
    for column in getattr(statement, "_raw_columns", ()):
        annotations = getattr(column, "_annotations", {})
        entity = annotations.get("parententity")
        if getattr(entity, "mapper", None) is not None and "proxy_key" not in annotations:
            yield entity
