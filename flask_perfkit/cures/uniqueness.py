"""Whether a database lets no two rows of a table be equal in some of its columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Index, UniqueConstraint


def are_unique(columns: Sequence[Any]) -> bool:
    """Tell whether at most one row of a table has these values of its columns."""
    table = columns[0].table
    wanted = set(columns)
    if set(table.primary_key.columns) <= wanted or any(each.unique for each in columns):
        return True
    groups = [set(each.columns) for each in (*table.constraints, *table.indexes) if _holds(each)]
    return any(group and group <= wanted for group in groups)


def _holds(each: Any) -> bool:
    """Tell whether it keeps all rows apart: a partial index leaves out some."""
    if isinstance(each, Index):
        options = each.dialect_options.values()
        return bool(each.unique) and all(kind.get("where") is None for kind in options)
    return isinstance(each, UniqueConstraint)
