"""How a statement selects its entities: at which place, and whether with room for joins."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select
from sqlalchemy.orm import Mapper

from flask_perfkit.recording.issued import Issued
from flask_perfkit.recording.mappers import entities_of


def position_of(statement: Any, mapper: Mapper[Any]) -> int | None:
    """Return which of a statement's entities brings objects of a mapper, or of a base of it."""
    mappers = [entity.mapper for entity in entities_of(statement)]
    places = list(range(len(mappers)))
    exact = [place for place in places if mappers[place].isa(mapper)]
    return next(iter(exact or [place for place in places if mapper.isa(mappers[place])]), None)


def takes_joins(issued: Issued, position: int) -> bool:
    """Tell whether a to-one can be joined to a statement from outside, and changes nothing else.

    An outer join cannot be locked, has no effect on a statement that is given as a whole, adds
    columns to what is grouped or made distinct, and makes each portion of a stream dearer.
    """
    statement = issued.statement
    if not isinstance(statement, Select) or issued.streams:
        return False
    private: Any = statement
    if private._for_update_arg is not None or private._distinct or private._group_by_clauses:
        return False
    return isinstance(list(entities_of(statement))[position], Mapper)
