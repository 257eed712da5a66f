"""A number that the database works out, in the place of rows that are counted or summed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Integer, Select
from sqlalchemy.orm import Mapper

from flask_perfkit.cures.loaders import Sent
from flask_perfkit.recording.issued import Issued
from flask_perfkit.recording.mappers import entities_of


@dataclass(frozen=True)
class Aggregation:
    """A count of a statement's rows, or the sum of an attribute of them.

    ``attribute`` is None for a count.
    """

    entity: type
    attribute: str | None = None
    sent: Sent = field(default=Sent(), compare=False)


def aggregation_of(
    issued: Issued, function: str, attribute: str | None, sent: Sent
) -> Aggregation | None:
    """Return the aggregate that gives the same number; None where that is not sure."""
    statement: Any = issued.statement
    entities = list(entities_of(statement))
    if not isinstance(statement, Select) or len(statement._raw_columns) != 1 or len(entities) != 1:
        return None
    private: Any = statement
    if private._distinct or private._group_by_clauses or private._having_criteria:
        return None
    if private._with_options or private._for_update_arg is not None:
        return None
    if not isinstance(entities[0], Mapper):
        return None
    entity: Mapper[Any] = entities[0]
    if attribute is None:
        return Aggregation(entity.class_, None, sent) if function == "count" else None
    column = entity.column_attrs[attribute].columns[0]
    if function != "sum" or not isinstance(column.type, Integer):
        return None  # sums of other numbers may come with another number of digits
    return Aggregation(entity.class_, attribute, sent)
